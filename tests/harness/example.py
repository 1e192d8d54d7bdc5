"""example.py NAME PATTERN…: runs an example without arguments; it must end with exit code 0, and each pattern (a regular
expression) must match somewhere in what it prints."""
import os
import re
import subprocess
import sys

name, patterns = sys.argv[1], sys.argv[2:]
p = subprocess.run([os.path.join(os.environ['GS_EXAMPLES'], name)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT, text=True, errors='replace', timeout=60)
print(''.join(f'# {line}\n' for line in p.stdout.splitlines()), end='')
print(f'1..{1 + len(patterns)}')
print(f'{"" if p.returncode == 0 else "not "}ok 1 - {name} ends with exit code 0 (it was {p.returncode})')
for n, pattern in enumerate(patterns, 2):
    print(f'{"" if re.search(pattern, p.stdout, re.M) else "not "}ok {n} - prints {pattern}')
sys.exit(0)
