#!/bin/bash
# Asks a worker's admin address whether it lives. In bash alone, so that the image needs no HTTP client.
# usage: bursar-healthcheck [path]    (default /healthz)
set -euo pipefail

port=${BURSAR_ADMIN_ADDR:-127.0.0.1:9090}
port=${port##*:}
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "${1:-/healthz}" >&3
# Less than the engine's own deadline, so that the reason below is what it records.
read -r -t 4 _ status _ <&3 || status="no answer"
[[ $status == 200 ]] && exit
echo "expected 200 from port $port${1:-/healthz}, got $status"
exit 1
