"""One fuzz target: replays the saved corpus, or runs it for a number of executions or seconds, whichever ends first.

fuzz.py PROGRAM CORPUS replay
fuzz.py PROGRAM CORPUS run EXECUTIONS SECONDS
A run leaves the saved corpus alone; what crashed is kept under build/fuzz/crashes and named with the command to repeat it.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile


def replay(program, corpus):
    files = sorted(os.path.join(corpus, n) for n in os.listdir(corpus)) if os.path.isdir(corpus) else []
    if not files:
        sys.exit(f'{corpus}: no saved corpus')
    with tempfile.TemporaryFile('w+') as log:
        code = subprocess.run([program, '-timeout=10', '-rss_limit_mb=2048', *files], stdin=subprocess.DEVNULL, stdout=log,
                              stderr=subprocess.STDOUT).returncode
        log.seek(0)
        text = log.read()
    done = len(re.findall(r'^Executed ', text, re.M))
    if code or done != len(files):
        sys.exit(f'{text}\n{done} of {len(files)} corpus files passed, exit code {code}')
    print(f'{len(files)} corpus files replayed')


def run(program, corpus, runs, seconds):
    crashes = os.path.join(os.path.dirname(os.path.dirname(program)), 'crashes', '')
    os.makedirs(crashes, exist_ok=True)
    work = tempfile.mkdtemp(prefix='gensock-fuzz-')
    try:
        known = [corpus] if os.path.isdir(corpus) else []
        p = subprocess.run([program, f'-runs={runs}', f'-max_total_time={seconds}', '-timeout=10', '-rss_limit_mb=2048',
                            '-print_final_stats=1', f'-seed={os.environ.get("GS_FUZZ_SEED", "1")}', f'-artifact_prefix={crashes}', work, *known],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           errors='replace')
    finally:
        shutil.rmtree(work, ignore_errors=True)
    m = re.search(r'Done (\d+) runs in (\d+) second', p.stdout)
    if p.returncode or not m:
        kept = re.search(r'Test unit written to (\S+)', p.stdout)
        sys.exit(p.stdout[-6000:] + (f'\nrepeat: {program} {kept.group(1)}' if kept else ''))
    done, took = int(m.group(1)), max(int(m.group(2)), 1)
    if done < 1000:
        sys.exit(f'{p.stdout[-3000:]}\nonly {done} executions in {took} s')
    print(f'# note: {done} executions in {took} s, {done // took} per second')


if __name__ == '__main__':
    if sys.argv[3] == 'replay':
        replay(sys.argv[1], sys.argv[2])
    else:
        run(sys.argv[1], sys.argv[2], int(sys.argv[4]), int(sys.argv[5]))
