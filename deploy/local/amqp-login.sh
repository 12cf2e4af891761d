# shellcheck shell=bash
# Is what listens there a broker that lets this user in? A port that answers proves neither. Sourced.

# amqp_login <host> <port> <user> <password>: 0 if the broker goes on to tune the connection.
amqp_login() {
    port_open "$1" "$2" || return 1
    # In a process of its own with a deadline: a server of another kind may accept and then say nothing.
    bounded 10 bash -c "$(declare -f amqp_handshake read_bytes); amqp_handshake \"\$@\"" amqp_login "$@" 2>/dev/null
}

# AMQP 0-9-1: protocol header -> Connection.Start (class 10, method 10); Start-Ok (10, 11) with PLAIN -> Connection.Tune (10, 30),
# or the broker closes. A frame is type (1 byte), channel (2), size (4), payload, end (0xCE).
amqp_handshake() {
    local host=$1 port=$2 user=$3 password=$4 header size
    exec 3<>"/dev/tcp/$host/$port"
    printf 'AMQP\x00\x00\x09\x01' >&3
    header=$(read_bytes 11)
    [[ $header == 010000????????000a000a ]] || return 1
    size=$((16#${header:6:8}))
    # What is left of Start: its payload without class and method, and the end of the frame. Nothing in it matters here.
    read_bytes $((size - 4 + 1)) >/dev/null

    local response_size=$((2 + ${#user} + ${#password})) payload_size
    # class and method 4, empty properties 4, "PLAIN" 1+5, response 4+n, "en_US" 1+5
    payload_size=$((4 + 4 + 6 + 4 + response_size + 6))
    # shellcheck disable=SC2059 # the sizes are part of the format: they are bytes
    {
        printf '\x01\x00\x00\x00\x00\x00'"\\x$(printf %02x "$payload_size")"
        printf '\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00'"\\x$(printf %02x "$response_size")"
        printf '\x00%s\x00%s' "$user" "$password"
        printf '\x05en_US\xce'
    } >&3
    [[ $(read_bytes 11) == 010000????????000a001e ]]
}

# Byte by byte, because anything that reads ahead would swallow the next frame.
read_bytes() { dd bs=1 count="$1" <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \n'; }
