//! The one HTTP caller: it sends what a pure function has made and tells apart what can be known of how that went.
//!
//! - Nothing is sent twice: no redirects are followed, nothing is repeated, and each call has a connection of its own, since
//!   one that was kept may be closed by the server just as it is written to.
//! - It uses no proxy of the environment.
//! - What was sent and has no whole answer is unknown, whatever the error says.

use super::Called;
use processors::api::{RawAnswer, Request};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use std::error::Error as _;
use std::time::Duration;
use url::Url;

/// Where a processor answers, and what lets us in.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its path is not used.
    pub base: Url,
    /// The whole value of the header: `Bearer sk_...`.
    pub authorization: Option<SecretString>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerSettings {
    /// Name, connection and TLS.
    pub connect: Duration,
    /// All of it, to the answer's last byte.
    pub whole: Duration,
    /// A larger answer counts as none.
    pub answer_bytes_max: usize,
    /// None is taken from the environment.
    pub proxy: Option<Url>,
}

impl Default for CallerSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(15),
            answer_bytes_max: 1 << 20,
            proxy: None,
        }
    }
}

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// Those that are text, by their name in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.raw().header(name)
    }

    /// For the function that reads it.
    pub fn raw(&self) -> RawAnswer<'_> {
        RawAnswer { status: self.status, headers: &self.headers, body: &self.body }
    }
}

/// Clones are the same.
#[derive(Debug, Clone)]
pub struct HttpCaller {
    client: reqwest::Client,
    settings: CallerSettings,
}

impl HttpCaller {
    /// # Errors
    /// A proxy that cannot be one, or certificates that this machine does not give.
    pub fn new(settings: CallerSettings) -> Result<Self, reqwest::Error> {
        // The binary installs a provider at its start. A process that has one already keeps it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut client = reqwest::Client::builder()
            .connect_timeout(settings.connect)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .referer(false)
            .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &settings.proxy {
            client = client.proxy(reqwest::Proxy::all(proxy.clone())?);
        }
        Ok(Self { client: client.build()?, settings })
    }

    /// Sends a request once.
    pub async fn send(&self, to: &Endpoint, request: &Request) -> Called<HttpAnswer> {
        let request = match self.built(to, request) {
            Ok(request) => request,
            Err(unbuilt) => return unbuilt,
        };
        let answer = tokio::time::timeout(self.settings.whole, self.exchange(request)).await;
        answer
            .unwrap_or_else(|_| Called::Unknown(format!("no whole answer within {:?}", self.settings.whole)))
    }

    /// A key that is none is mended by a new configuration, so the call waits for it; nothing else that is wrong here changes.
    fn built(&self, to: &Endpoint, request: &Request) -> Result<reqwest::Request, Called<HttpAnswer>> {
        let mut request = self.without_key(to, request).map_err(Called::Impossible)?;
        if let Some(authorization) = &to.authorization {
            let value = HeaderValue::from_str(authorization.expose_secret());
            let mut value = value.map_err(|_| Called::NotSent("the key is no header".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn without_key(&self, to: &Endpoint, request: &Request) -> Result<reqwest::Request, String> {
        let url = to.base.join(&request.path).map_err(|why| format!("its path makes no URL: {why}"))?;
        if url.origin() != to.base.origin() {
            return Err("its path leads to another server".to_owned());
        }
        let method = reqwest::Method::from_bytes(request.method.as_str().as_bytes());
        let method = method.map_err(|why| why.to_string())?;
        let mut headers = HeaderMap::new();
        let told = request.headers.iter().chain(&request.idempotency_key);
        for (name, value) in told {
            let value =
                HeaderValue::from_str(value).map_err(|_| format!("the value of {name} is no header"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let built = self.client.request(method, url).headers(headers).body(request.body.clone()).build();
        built.map_err(|error| said(&error))
    }

    async fn exchange(&self, request: reqwest::Request) -> Called<HttpAnswer> {
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            // Before a connection was there, nothing of the request had left.
            Err(error) if error.is_connect() || error.is_builder() => return Called::NotSent(said(&error)),
            Err(error) => return Called::Unknown(said(&error)),
        };
        let status = response.status().as_u16();
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = response.headers().iter().filter_map(text).collect();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= self.settings.answer_bytes_max => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    let max = self.settings.answer_bytes_max;
                    return Called::Unknown(format!(
                        "status {status} and an answer of more than {max} bytes"
                    ));
                }
                Ok(None) => return Called::Answered(HttpAnswer { status, headers, body }),
                Err(error) => {
                    return Called::Unknown(format!("status {status} and a broken answer: {}", said(&error)));
                }
            }
        }
    }
}

/// The error with its causes, without the URL: that may carry secrets.
fn said(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "it took too long" } else { "it failed" }.to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
