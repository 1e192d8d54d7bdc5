"""python3 decode_diff.py GENSOCK [--cases N] [--seed S] [--keep DIR]: `gensock decode` against erlang:decode_packet/3.

Makes N requests (decode_cases.py), gives the same ones to both programs and compares the answers line by line. TAP on
stdout, one line per packet type and one for the spread of the answers; the differing cases (the first 20 of a type) as
comments. Exit 0 without a difference, 1 with one, 2 when a program could not be run. Needs `escript` (erlang-base).
"""
import argparse
import collections
import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from decode_cases import Cases

# How many of the cases each type gets: as much as it has to get wrong.
WEIGHT = {'raw': 1, '0': 1, '1': 3, '2': 3, '4': 5, 'asn1': 8, 'sunrm': 4, 'cdr': 5, 'fcgi': 5, 'tpkt': 4, 'line': 8,
          'http': 18, 'httph': 12, 'http_bin': 9, 'httph_bin': 6, 'ssl_tls': 6, 'bert': 1}
SPREAD_FROM = 20000  # with so many cases each of these answers is seen, or the generator is broken
RECORDS = {'ok b', 'more N', 'more undefined', 'error invalid'}
SPREAD = {'raw': {'ok b', 'more undefined'}, 'asn1': RECORDS, 'line': {'ok b', 'more undefined', 'error invalid'},
          '1': RECORDS, '2': RECORDS, '4': RECORDS, 'sunrm': RECORDS, 'cdr': RECORDS, 'fcgi': RECORDS, 'tpkt': RECORDS,
          'http': {'ok req', 'ok rsp', 'ok err', 'more undefined', 'error invalid'},
          'httph': {'ok hdr', 'ok eoh', 'ok err', 'more undefined', 'error invalid'},
          'ssl_tls': {'ok ssl', 'more N', 'more undefined', 'error invalid'}, 'bert': {'badarg'}}
SHOWN = 20


def requests(cases, seed):
    """`bert` is no packet type: the answer is badarg in both programs."""
    maker = Cases(random.Random(seed))
    total = sum(WEIGHT.values())
    number = 0
    for kind, weight in WEIGHT.items():
        share = max(1, round(cases * weight / total)) if kind != 'bert' else max(1, cases - number)
        for i in range(share):
            number += 1
            yield maker.request_line(number, kind, i / share) if kind != 'bert' else f'{number} bert 0 0 10 00'


def answer_kind(answer):
    words = answer.split(' ')
    if words[1] == 'ok':
        return 'ok ' + words[2].split(':')[0]
    if words[1] == 'more':
        return 'more undefined' if words[2] == 'undefined' else 'more N'
    return ' '.join(words[1:])


def run(gensock, directory):
    """Both programs over DIRECTORY/requests; their answers as lists of lines."""
    path = lambda name: os.path.join(directory, name)
    reference = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'decode_reference.escript')
    erlang = subprocess.Popen(['escript', reference, path('requests'), path('erlang')])
    with open(path('requests'), 'rb') as source, open(path('gensock'), 'wb') as sink:
        feeder = subprocess.Popen(['cat'], stdin=source, stdout=subprocess.PIPE)
        status = subprocess.call([gensock, 'decode'], stdin=feeder.stdout, stdout=sink)
        feeder.stdout.close()
        feeder.wait()
    if erlang.wait() or status:
        print(f'Bail out! escript exited {erlang.returncode}, gensock {status}')
        sys.exit(2)
    return [open(path(name)).read().splitlines() for name in ('requests', 'gensock', 'erlang')]


def compare(asked, ours, theirs):
    passed, failed, seen = collections.Counter(), collections.Counter(), collections.defaultdict(collections.Counter)
    for request, our, their in zip(asked, ours, theirs):
        kind = request.split(' ', 2)[1]
        seen[kind][answer_kind(their)] += 1
        if our == their:
            passed[kind] += 1
            continue
        failed[kind] += 1
        if failed[kind] <= SHOWN:
            print(f'# asked   {request}\n# gensock {our}\n# erlang  {their}')
    return passed, failed, seen


def report(passed, failed, seen, cases):
    missing = {kind: want - set(seen[kind]) for kind, want in SPREAD.items() if want - set(seen[kind])}
    for n, kind in enumerate(WEIGHT, 1):
        answers = ', '.join(f'{count} {name}' for name, count in seen[kind].most_common())
        print(f'{"not ok" if failed[kind] else "ok"} {n} - {kind}: {passed[kind] + failed[kind]} cases ({answers})')
    broken = bool(missing) and cases >= SPREAD_FROM
    print(f'{"not ok" if broken else "ok"} {len(WEIGHT) + 1} - every kind of answer is among them')
    if broken:
        print(f'# never seen: {missing}')
    print(f'# {sum(passed.values())} passed, {sum(failed.values())} failed')
    return 1 if broken or any(failed.values()) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('gensock')
    parser.add_argument('--cases', type=int, default=100000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--keep', help='leave requests and answers in this directory')
    args = parser.parse_args()
    print(f'1..{len(WEIGHT) + 1}\n# {args.cases} cases, seed {args.seed}')
    with tempfile.TemporaryDirectory() as temporary:
        directory = args.keep or temporary
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, 'requests'), 'w') as file:
            file.writelines(line + '\n' for line in requests(args.cases, args.seed))
        try:
            asked, ours, theirs = run(args.gensock, directory)
        except FileNotFoundError as e:
            print(f'Bail out! {e.filename} is not there (escript is in erlang-base)')
            return 2
    if len(ours) != len(asked) or len(theirs) != len(asked):
        print(f'Bail out! {len(asked)} requests, {len(ours)} answers of gensock, {len(theirs)} of erlang')
        return 2
    return report(*compare(asked, ours, theirs), args.cases)


if __name__ == '__main__':
    sys.exit(main())
