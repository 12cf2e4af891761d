//! One event in two renderings: what they say together, or where they contradict each other.
//!
//! A processor tells one event in the words of an API version. Another version adds a field, drops it or moves it, and the
//! event is the same. So what one rendering lacks is no contradiction, and what the other has beside it is kept: the two
//! make one fact, their union. Only two values for one thing contradict.
//!
//! It works on the canonical text of facts, member by member, so that a field which is added to a fact is compared and kept
//! without a word here. Of renderings that agree with each other the union is the same in whatever order they come.

use crate::fact::{Fact, FactKind};
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The fields that two renderings give different values, by their paths: `amount.amount`, `items.0.price`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction(pub Vec<String>);

/// What two renderings say together. The union of a fact with itself is the fact, its lists in their one order.
///
/// # Errors
/// The paths of the fields in which they contradict each other.
pub fn union(a: &Fact, b: &Fact) -> Result<Fact, Contradiction> {
    if a.kind() != b.kind() {
        return Err(Contradiction(vec!["type".to_owned()]));
    }
    let mut merging = Merging { kind: a.kind(), contradictions: Vec::new() };
    let merged = merging.objects("", &members(a), &members(b));
    if !merging.contradictions.is_empty() {
        merging.contradictions.sort();
        return Err(Contradiction(merging.contradictions));
    }
    let whole = || Contradiction(vec!["content".to_owned()]);
    let text = serde_json::value::to_raw_value(&merged).map_err(|_| whole())?;
    Fact::parse(a.kind(), &text).map_err(|_| whole())
}

fn members(fact: &Fact) -> Map<String, Value> {
    serde_json::from_str(fact.canonical().get()).unwrap_or_default()
}

struct Merging {
    kind: FactKind,
    contradictions: Vec<String>,
}

impl Merging {
    fn objects(&mut self, path: &str, a: &Map<String, Value>, b: &Map<String, Value>) -> Map<String, Value> {
        let (mut a, mut b) = (firm(a, b), firm(b, a));
        let mut merged = Map::new();
        if path.is_empty() && a.contains_key("payment") && b.contains_key("payment") {
            merged.extend(self.identity(&mut a, &mut b));
        }
        for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            let value = match (a.get(name), b.get(name)) {
                (Some(a), Some(b)) => self.values(&below(path, name), a, b),
                (one, other) => one.or(other).map_or(Value::Null, in_order),
            };
            merged.insert(name.clone(), value);
        }
        merged
    }

    fn values(&mut self, path: &str, a: &Value, b: &Value) -> Value {
        match (a, b) {
            (Value::Null, said) | (said, Value::Null) => in_order(said),
            (Value::Object(a), Value::Object(b)) => Value::Object(self.objects(path, a, b)),
            (Value::Array(a), Value::Array(b)) => Value::Array(self.lists(path, a, b)),
            // A flag is raised or not spoken of.
            (Value::Bool(a), Value::Bool(b)) => Value::Bool(*a || *b),
            (Value::String(a), Value::String(b)) => match self.texts(path, a, b) {
                Some(text) => Value::String(text),
                None => self.contradicts(path, a),
            },
            (a, b) if a == b => a.clone(),
            (a, _) => self.contradicts(path, a.to_string().as_str()),
        }
    }

    fn contradicts(&mut self, path: &str, said: &str) -> Value {
        self.contradictions.push(path.to_owned());
        Value::String(said.to_owned())
    }

    /// An empty list says nothing. Two lists agree where they name the same things and say of each what agrees.
    fn lists(&mut self, path: &str, a: &[Value], b: &[Value]) -> Vec<Value> {
        let (a, b) = (sorted(a), sorted(b));
        match (a.is_empty(), b.is_empty()) {
            (true, _) => return b,
            (_, true) => return a,
            (false, false) => {}
        }
        if a.len() != b.len() {
            self.contradictions.push(path.to_owned());
            return a;
        }
        let pairs = a.iter().zip(&b).enumerate();
        pairs.map(|(position, (a, b))| self.values(&below(path, &position.to_string()), a, b)).collect()
    }

    /// The one text that both are, in one of its spellings, or that outranks the other.
    fn texts(&self, path: &str, a: &str, b: &str) -> Option<String> {
        let (lesser, greater) = (a.min(b), a.max(b));
        let name = path.rsplit('.').next().unwrap_or(path);
        let is_one_amount =
            || AMOUNTS.contains(&name) && same(lesser, greater, |text| text.parse::<Decimal>());
        if lesser == greater
            || same(lesser, greater, |text| OffsetDateTime::parse(text, &Rfc3339))
            || is_one_amount()
        {
            return Some(lesser.to_owned());
        }
        self.kind.outranking(path, lesser, greater).map(str::to_owned)
    }

    /// A purchase's ids: the same purchase where they have one in common. Who names the other's leading id as an alias knows
    /// the better one.
    fn identity(&mut self, a: &mut Map<String, Value>, b: &mut Map<String, Value>) -> Map<String, Value> {
        let (a, b) = (Ids::taken_from(a), Ids::taken_from(b));
        if a.all().is_disjoint(&b.all()) {
            self.contradictions.push("payment".to_owned());
        }
        let leading = match (b.aliases.contains(&a.payment), a.aliases.contains(&b.payment)) {
            (true, false) => b.payment.clone(),
            (false, true) => a.payment.clone(),
            (true, true) | (false, false) => a.payment.clone().max(b.payment.clone()),
        };
        let aliases: Vec<Value> =
            a.all().union(&b.all()).filter(|id| **id != leading).cloned().map(Value::String).collect();
        let mut identity = Map::from_iter([("payment".to_owned(), Value::String(leading))]);
        if !aliases.is_empty() {
            identity.insert("aliases".to_owned(), Value::Array(aliases));
        }
        identity
    }
}

/// Fields that are decimals in text: spelled with more or fewer places they are the same.
const AMOUNTS: [&str; 3] = ["amount", "credits", "share"];

fn same<T: PartialEq, E>(a: &str, b: &str, read: impl Fn(&str) -> Result<T, E>) -> bool {
    matches!((read(a), read(b)), (Ok(a), Ok(b)) if a == b)
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What a rendering says for certain, beside another: what it only assumes, or read from a field that only serves, gives way
/// to what the other knows.
fn firm(own: &Map<String, Value>, other: &Map<String, Value>) -> Map<String, Value> {
    let is_raised = |of: &Map<String, Value>, flag| of.get(flag) == Some(&Value::Bool(true));
    let gives_way = |flag| is_raised(own, flag) && !is_raised(other, flag);
    let mut firm = own.clone();
    // That nothing tells what was bought is not said of it.
    if own.get("purpose").and_then(Value::as_str) == Some("unstated")
        && other.get("purpose") != own.get("purpose")
    {
        firm.remove("purpose");
    }
    if gives_way("by_reference") && other.contains_key("account") {
        firm.clear();
    }
    if gives_way("quantity_assumed") && other.contains_key("quantity") {
        firm.retain(|name, _| name != "quantity" && name != "quantity_assumed");
    }
    firm
}

/// By what their elements are about; elements about the same thing keep their order.
fn sorted(list: &[Value]) -> Vec<Value> {
    let mut sorted = list.to_vec();
    sorted.sort_by_cached_key(|element| {
        let subject = element.get("price").or_else(|| element.get("line")).unwrap_or(element);
        subject.to_string()
    });
    sorted
}

fn in_order(value: &Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(sorted(list)),
        other => other.clone(),
    }
}

struct Ids {
    payment: String,
    aliases: BTreeSet<String>,
}

impl Ids {
    fn taken_from(members: &mut Map<String, Value>) -> Self {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let aliases = match members.remove("aliases") {
            Some(Value::Array(aliases)) => aliases.into_iter().map(text).collect(),
            Some(_) | None => BTreeSet::new(),
        };
        Self { payment: members.remove("payment").map(text).unwrap_or_default(), aliases }
    }

    fn all(&self) -> BTreeSet<String> {
        self.aliases.iter().chain([&self.payment]).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
