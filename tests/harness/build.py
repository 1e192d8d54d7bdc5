"""Meson and ninja: the four builds under build/, each set up at first use and again when a file was dropped in."""
import fcntl
import hashlib
import os
import re
import subprocess
import time

# Compiler flags go by c_args: meson 1.0 forgets -Doptimization and -Ddebug beside a buildtype when it sets up again.
SANITIZED = ['--buildtype=debug', '-Dc_args=-O1', '-Dtests=true', '-Db_lundef=false', '-Dwerror=true']
BUILDS = {
    'release': ('cc', ['--buildtype=release', '-Dc_args=-g']),  # ./run build sets it up in the same way
    'asan': ('gcc', SANITIZED + ['-Db_sanitize=address,undefined']),
    'tsan': ('clang', SANITIZED + ['-Db_sanitize=thread']),
    # fuzz/meson.build has the sanitizers: it compiles what is fuzzed once more.
    'fuzz': ('clang', ['-Dfuzz=true', '-Db_lundef=false']),
}
# Folders whose C files meson finds by itself; a new or gone file there needs a new setup.
GLOBBED = ('tests/unit', 'tests/conformance', 'tests/fault', 'tests/storm', 'fuzz', 'tests/interop', 'examples', 'docs/man', 'bench')


def stamp(root, name):
    names = [f'{d}/{n}' for d in GLOBBED if os.path.isdir(os.path.join(root, d)) for n in sorted(os.listdir(os.path.join(root, d)))]
    return hashlib.sha256('\n'.join(names + BUILDS[name][1]).encode()).hexdigest()


def call(argv, log, **more):
    with open(log, 'ab') as f:
        f.write(('$ ' + ' '.join(argv) + '\n').encode())
        f.flush()
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT, **more).returncode


def setup(root, name, path, log):
    """True when the build directory stands for the tree as it is now."""
    compiler, options = BUILDS[name]
    mark, now = os.path.join(path, '.gensock-files'), stamp(root, name)
    known = os.path.exists(os.path.join(path, 'build.ninja'))
    if known and os.path.exists(mark) and open(mark).read() == now:
        return True
    env = dict(os.environ, CC=os.environ.get('CC', 'cc') if name == 'release' else compiler)
    again = ['--reconfigure'] if known else ['--wipe'] if os.path.isdir(os.path.join(path, 'meson-private')) else []
    if call(['meson', 'setup', *again, path, root, *options], log, env=env) != 0:
        return False
    with open(mark, 'w') as f:
        f.write(now)
    return True


def make(root, name, path, targets, say):
    """Builds targets; answers {target: text of what went wrong} for those that did not build."""
    log = os.path.join(os.path.dirname(path), 'logs', f'build-{name}.log')
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log + '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another runner in this tree waits for its turn
        return make_locked(root, name, path, targets, say, log)


def make_locked(root, name, path, targets, say, log):
    open(log, 'w').close()
    began = time.monotonic()
    say(f'build {name}: {len(targets)} targets …')
    if not setup(root, name, path, log):
        return dict.fromkeys(targets, tail(log))
    if call(['ninja', '-k', '0', '-C', path, *targets], log) == 0:
        say(f'build {name}: done in {time.monotonic() - began:.0f} s')
        return {}
    missing = {t: errors(log) for t in targets if not is_up_to_date(path, t)}
    say(f'build {name}: FAILED for {len(missing)} of {len(targets)} targets ({log})')
    return missing


def is_up_to_date(path, target):
    p = subprocess.run(['ninja', '-n', '-C', path, target], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return p.returncode == 0 and 'no work to do' in p.stdout


def tail(path, lines=40):
    with open(path, errors='replace') as f:
        return ''.join(f.readlines()[-lines:])


def errors(path):
    with open(path, errors='replace') as f:
        found = [l for l in f if re.search(r'\berror\b|warning:|undefined reference|^FAILED|ninja: error', l, re.I)]
    return ''.join(found[:30]) or tail(path)
