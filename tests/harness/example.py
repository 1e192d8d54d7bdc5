"""example.py NAME [ARGUMENT… --] PATTERN…: runs an example; it must end with exit code 0, and each pattern (a regular
expression) must match somewhere in what it prints. An example with arguments runs in a folder with certificates
(certificates.py)."""
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import certificates  # noqa: E402

name, patterns, arguments = sys.argv[1], sys.argv[2:], []
if '--' in patterns:
    at = patterns.index('--')
    arguments, patterns = patterns[:at], patterns[at + 1:]
with tempfile.TemporaryDirectory(prefix='gensock-example-') as folder:
    if arguments:
        certificates.make(folder)
    p = subprocess.run([os.path.join(os.environ['GS_EXAMPLES'], name), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, errors='replace', timeout=60, cwd=folder if arguments else None)
print(''.join(f'# {line}\n' for line in p.stdout.splitlines()), end='')
print(f'1..{1 + len(patterns)}')
print(f'{"" if p.returncode == 0 else "not "}ok 1 - {name} ends with exit code 0 (it was {p.returncode})')
for n, pattern in enumerate(patterns, 2):
    print(f'{"" if re.search(pattern, p.stdout, re.M) else "not "}ok {n} - prints {pattern}')
sys.exit(0)
