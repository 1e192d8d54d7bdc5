"""What the scripts of tests/cli share: running the command, servers around it, and results as TAP.

By hand: GENSOCK=build/release/cli/gensock tests/cli/echo_cat [PART OF A TEST'S NAME…]
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback

ROOT = os.environ.get('GS_ROOT') or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GENSOCK = os.environ.get('GENSOCK') or os.path.join(ROOT, 'build', 'asan', 'cli', 'gensock')
PEER = os.path.join(ROOT, 'tests', 'interop', 'gen_tcp_peer.escript')
OK, FAILURE, USAGE, REFUSED, TIMEOUT, ADDRESS, PERMISSION, CHECKSUM, CLOSED, FILE, PROTOCOL = range(11)
SECONDS = int(os.environ.get('GS_CLI_SECONDS', '60'))  # for anything that should end by itself

socket.setdefaulttimeout(SECONDS)
_tests = []


class Skip(Exception):
    pass


def test(f):
    _tests.append(f)
    return f


def main():
    failed = 0
    for s in (signal.SIGHUP, signal.SIGQUIT):  # who started the tests may ignore them, as nohup does; what tests start would as well
        signal.signal(s, signal.SIG_DFL)
    chosen = [f for f in _tests if len(sys.argv) < 2 or any(part in f.__name__ for part in sys.argv[1:])]
    print(f'1..{len(chosen)}', flush=True)
    for n, f in enumerate(chosen, 1):
        try:
            f()
            print(f'ok {n} - {f.__name__}', flush=True)
        except Skip as e:
            print(f'ok {n} - {f.__name__} # SKIP {e}', flush=True)
        except Exception:
            failed += 1
            print(''.join(f'# {line}\n' for line in traceback.format_exc().splitlines()), end='')
            print(f'not ok {n} - {f.__name__}', flush=True)
    sys.exit(1 if failed else 0)


def expect(condition, *what):
    if not condition:
        raise AssertionError(' '.join(str(w)[:2000] for w in what))


def gensock(*args, code=OK, stdin=b'', **more):
    """Runs it to its end; answers (stdout, stderr) as bytes."""
    p = subprocess.run([GENSOCK, *args], input=stdin, stdout=more.pop('stdout', subprocess.PIPE), stderr=subprocess.PIPE,
                       timeout=SECONDS, **more)
    expect(p.returncode == code, args, 'ended with', p.returncode, 'not', code, p.stdout, p.stderr)
    expect(b'runtime error' not in p.stderr and b'Sanitizer' not in p.stderr, p.stderr)
    return p.stdout, p.stderr


def fails(*args, code, says=b'', **more):
    """It ends with this code, and one line on stderr that contains `says`."""
    out, err = gensock(*args, code=code, **more)
    expect(err.endswith(b'\n') and err.count(b'\n') == 1, args, 'says not one line:', err)
    expect(err.startswith(b'gensock'), err)
    expect(says.lower() in err.lower(), args, 'does not say', says, 'but', err)
    return out


class Running:
    """gensock in the background. address: its first line, when it listens."""

    def __init__(self, *args, listens=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE):
        self.p = subprocess.Popen([GENSOCK, *args], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)
        self.address = None
        if listens:
            line = self.p.stdout.readline().decode()
            if not line:
                raise AssertionError(f'{args} did not start: {self.p.stderr.read()}')
            self.address = json.loads(line)['address'] if '--json' in args else line.strip()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        for f in (self.p.stdin, self.p.stdout, self.p.stderr):
            if f:
                f.close()

    @property
    def port(self):
        return int(self.address.rpartition(':')[2])

    def connect(self):
        s = socket.create_connection(('127.0.0.1', self.port), SECONDS)
        s.settimeout(SECONDS)
        return s

    def stop(self, with_signal=signal.SIGTERM, code=OK):
        self.p.send_signal(with_signal)
        return self.end(code)

    def end(self, code=OK):
        out, err = self.p.communicate(timeout=SECONDS)
        expect(self.p.returncode == code, 'ended with', self.p.returncode, 'not', code, out, err)
        expect(b'runtime error' not in (err or b'') and b'Sanitizer' not in (err or b''), err)
        return out, err


class Folder:
    def __enter__(self):
        self.t = tempfile.TemporaryDirectory(prefix='gensock-cli-')
        return self.t.name

    def __exit__(self, *exc):
        self.t.cleanup()


def listener(backlog=8):
    s = socket.socket()
    s.settimeout(SECONDS)
    s.bind(('127.0.0.1', 0))
    s.listen(backlog)
    return s, f'tcp://127.0.0.1:{s.getsockname()[1]}'


def free_address():
    s, address = listener()
    s.close()
    return address


def read_all(s):
    parts = []
    while True:
        part = s.recv(1 << 16)
        if not part:
            return b''.join(parts)
        parts.append(part)


def read_exactly(s, n):
    data = b''
    while len(data) < n:
        part = s.recv(n - len(data))
        expect(part, 'the connection ended after', len(data), 'of', n, 'bytes')
        data += part
    return data


def send_packet(s, body):
    s.sendall(len(body).to_bytes(4, 'big') + body)


def read_packet(s):
    return read_exactly(s, int.from_bytes(read_exactly(s, 4), 'big'))


def pattern(n):
    block = bytes((i * 131 + (i >> 8)) & 255 for i in range(65521))
    return (block * (n // len(block) + 1))[:n]


def json_lines(out):
    return [json.loads(line) for line in out.decode().splitlines()]
