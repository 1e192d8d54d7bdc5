"""What the check-* scripts share: where things are, the layers, and how a check says its findings."""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.environ.get('GS_ROOT') or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RELEASE = os.environ.get('GS_RELEASE', os.path.join(ROOT, 'build', 'release'))
LIBRARY = os.path.join(RELEASE, 'src', 'libgensock.so.0')
ARCHIVE = os.path.join(RELEASE, 'src', 'libgensock.a')
# Each library: where it is built, and the public headers that are not the core's. Its symbols are listed in src/NAME.sym.
LIBRARIES = {
    'gensock': (LIBRARY, ()),
    'gensock-tls': (os.path.join(RELEASE, 'src', 'tls', 'libgensock-tls.so.0'), ('tls.h',)),
    'gensock-tailnet': (os.path.join(RELEASE, 'src', 'tailnet', 'libgensock-tailnet.so.0'), ('tailnet.h', 'lab.h')),
    'gensock-ei': (os.path.join(RELEASE, 'src', 'ei', 'libgensock-ei.so.0'), ('ei.h',)),
}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding='utf-8') as f:
        return f.read()


def tracked(*endings):
    """Paths of the tree's own files, relative to the root: what git knows, and new files that it does not ignore."""
    git = shutil.which('git')
    p = git and subprocess.run([git, '-C', ROOT, 'ls-files', '-co', '--exclude-standard'], capture_output=True, text=True)
    if p and p.returncode == 0:
        names = p.stdout.splitlines()
    else:  # a machine without git, or a source archive
        names = [os.path.relpath(os.path.join(d, n), ROOT) for d, _, ns in os.walk(ROOT) for n in ns
                 if d == ROOT or not os.path.relpath(d, ROOT).startswith(('build', '.'))]
    return sorted(n for n in names if n.endswith(endings) and os.path.isfile(os.path.join(ROOT, n)))


def layers(file='src/meson.build', word='layer'):
    """The layers of a meson.build, bottom first."""
    m = re.search(rf"foreach {word} : \[([^\]]*)\]", read(file))
    return re.findall(r"'(\w+)'", m.group(1))


def output(*argv, **more):
    p = subprocess.run(argv, capture_output=True, text=True, **more)
    if p.returncode:
        sys.exit(f'{" ".join(argv)}: exit code {p.returncode}\n{p.stdout}{p.stderr}')
    return p.stdout


def listed_symbols(name):
    """The committed list of a library, or None when there is none."""
    if not os.path.exists(os.path.join(ROOT, 'src', f'{name}.sym')):
        return None
    return [line for line in read('src', f'{name}.sym').split('\n') if line and not line.startswith('#')]


def exported(library=LIBRARY):
    """The symbols that the shared library defines for others."""
    return sorted({line.split()[-1].split('@')[0] for line in output('nm', '-D', '--defined-only', library).splitlines()})


def without_comments(text):
    return re.sub(r'/\*.*?\*/|//[^\n]*', ' ', text, flags=re.S)


def declared(library=None):
    """{public function: header} of everything marked GS_API, of one library or all."""
    found, others = {}, {h: name for name, (_, headers) in LIBRARIES.items() for h in headers} | {'tailnet.h': 'gensock-tailnet'}
    for name in tracked('.h'):
        whose = others.get(os.path.basename(name), 'gensock')
        if name.startswith('include/gensock/') and library in (None, whose):
            for m in re.finditer(r'\bGS_API\b([^;{]*?)\b(gs_\w+)\s*\(', without_comments(read(name))):
                found[m.group(2)] = name
    return found


def verdict(findings, cure=''):
    """Ends the check: a line for each finding, exit code 1 when there is one."""
    for f in findings:
        print(f)
    if findings:
        print(f'{len(findings)} findings. {cure}')
    sys.exit(1 if findings else 0)
