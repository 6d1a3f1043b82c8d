#!/bin/busybox sh
# The sample web app: a keep-alive HTTP server in a page of shell.
#
#   GET  /            which release and instance answers
#   POST /            the same, after reading the body
#   GET  /health      200, or 503 while it is sick
#   GET  /slow?250    the same as /, 250 ms later; POST, too
#   POST /sick /well  fail, or pass, its health check
#   POST /leak        eat memory until the limit ends it
#
# SICK=1 in the environment makes it sick from the start, CRASH=1 makes it end at once with code 3, BROKEN=1 makes it
# answer 500 to all but its health check.

CR=$(printf '\r')

answer() { # status, body
	printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nX-Release: %s\r\nX-Instance: %s\r\n\r\n%s\n' \
		"$1" $((${#2} + 1)) "$HECD_RELEASE" "$HECD_INSTANCE" "$2"
}

serve() { # one connection, request after request
	while read -r method path _; do
		length=0
		while read -r line && [ "$line" != "$CR" ]; do
			case "$line" in
			[Cc]ontent-[Ll]ength:*) length=${line#*:} length=${length% } length=${length%"$CR"} ;;
			esac
		done
		body=
		[ "$((length))" -gt 0 ] && read -r -n "$((length))" body
		[ -n "$BROKEN" ] && [ "$path" != /health ] && answer "500 Internal Server Error" broken && continue
		case "$method $path" in
		"GET /health") if [ -e /tmp/sick ]; then answer "503 Service Unavailable" sick; else answer "200 OK" well; fi ;;
		"GET /slow?"* | "POST /slow?"*) usleep "$((${path#*\?} * 1000))" && answer "200 OK" "release $HECD_RELEASE, slowly" ;;
		"POST /sick") : >/tmp/sick && answer "200 OK" sick ;;
		"POST /well") rm -f /tmp/sick && answer "200 OK" well ;;
		"POST /leak") echo leak >/tmp/orders && answer "200 OK" leaking ;;
		"GET /"* | "POST /"*) answer "200 OK" "release $HECD_RELEASE, instance $HECD_INSTANCE, $((length)) bytes of body" ;;
		*) answer "405 Method Not Allowed" "only GET and POST" ;;
		esac
	done
}

[ "$1" = serve ] && { serve; exit; }

[ -n "$CRASH" ] && { echo "told to crash"; exit 3; }
[ -n "$SICK" ] && : >/tmp/sick
rm -f /tmp/orders && mkfifo /tmp/orders
# Each l lets one more connection wait to be accepted: two of them, as usual, lose some of every burst.
busybox nc "-$(printf '%0128d' 0 | busybox tr 0 l)" -p "${PORT:-8080}" -e /app serve &
trap 'echo "stopping"; kill $!; exit 0' TERM INT
echo "release $HECD_RELEASE instance $HECD_INSTANCE listens on port ${PORT:-8080}"
while read -r order <>/tmp/orders; do
	echo "told to $order"
	hoard=xxxxxxxxxxxxxxxx
	while [ "$order" = leak ]; do hoard=$hoard$hoard; done
done
