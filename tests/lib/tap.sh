# tap.sh: TAP for test scripts in bash. Source it: . "$GS_ROOT/tests/lib/tap.sh"
#
#     start server "$GENSOCK" echo tcp://127.0.0.1:0        # in the background; output in $work/server
#     await server 'listening' && at=$(word server 'tcp://[^ ]*')
#     check 'an echo comes back' test "$(echo hi | "$GENSOCK" cat "$at")" = hi
#     finish
#
# Everything started is ended, and $work removed, when the script ends.
set -u
work=$(mktemp -d /tmp/gensock-XXXXXX)
tap_count=0 tap_failed=0
declare -A tap_pids=()

tap_end() {
    local pid
    for pid in "${tap_pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${tap_pids[@]}"; do wait "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap tap_end EXIT

# check NAME COMMAND…: one result; the command's output is shown when it fails.
check() {
    local name=$1 out code=0
    shift
    out=$("$@" 2>&1) || code=$?
    tap_count=$((tap_count + 1))
    if [ $code = 0 ]; then
        echo "ok $tap_count - $name"
    else
        tap_failed=$((tap_failed + 1))
        echo "not ok $tap_count - $name"
        printf '# %s: exit code %s\n' "$*" "$code"
        [ -z "$out" ] || printf '%s\n' "$out" | head -n 20 | sed 's/^/# /'
    fi
}

# same NAME WANTED GOT
same() { check "$1" tap_same "$2" "$3"; }
tap_same() {
    [ "$1" = "$2" ] || { printf 'wanted: %s\ngot:    %s\n' "$1" "$2"; return 1; }
}

# fails NAME CODE WORD COMMAND…: the command ends with CODE and says WORD in one line.
fails() {
    local name=$1
    shift
    check "$name" tap_fails "$@"
}
tap_fails() {
    local wanted=$1 word=$2 out code=0
    shift 2
    out=$(timeout 20 "$@" 2>&1 </dev/null) || code=$?
    [ $code = "$wanted" ] && [[ $out == *"$word"* ]] && [ "$(printf '%s\n' "$out" | wc -l)" = 1 ] && return 0
    printf 'exit code %s instead of %s, or not one line with "%s": %s\n' "$code" "$wanted" "$word" "$out"
    return 1
}

# start NAME COMMAND…: in the background, its output in $work/NAME, its pid in ${tap_pids[NAME]}.
start() {
    local name=$1
    shift
    "$@" >"$work/$name" 2>&1 </dev/null &
    tap_pids[$name]=$!
}

# await NAME PATTERN [SECONDS]: until the output of a started command has the pattern (grep -E); 10 s.
await() {
    local n=$((${3:-10} * 50))
    while ! grep -qE -- "$2" "$work/$1" 2>/dev/null; do
        n=$((n - 1))
        if [ $n -le 0 ]; then
            echo "# $1 did not say \"$2\":"
            sed 's/^/# /' "$work/$1"
            return 1
        fi
        sleep 0.02
    done
}

# word NAME PATTERN: the first match in its output.
word() { grep -oE -m1 -- "$2" "$work/$1" | head -n 1; }

# skip_all REASON
skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

# The plan, last; the script's exit code.
finish() {
    echo "1..$tap_count"
    [ $tap_failed = 0 ]
    exit
}
