"""Certificates for scripts, made by the openssl command when they are wanted: nothing that expires is kept in the tree.

    make(folder)    ca.pem, and server.pem with server.key for localhost and 127.0.0.1 that it signed; other-ca.pem signed nothing
"""
import subprocess


EC = ('ec', '-pkeyopt', 'ec_paramgen_curve:P-256')


def make_one(folder, name, *more, key=EC):
    """NAME.pem and NAME.key, signed by itself unless more says who."""
    subprocess.run(['openssl', 'req', '-x509', '-newkey', *key, '-nodes', '-days', '1',
                    '-subj', f'/CN={name}', '-keyout', f'{folder}/{name}.key', '-out', f'{folder}/{name}.pem', *more],
                   check=True, capture_output=True, timeout=60)


def make_ca(folder, name):
    make_one(folder, name, '-addext', 'keyUsage=critical,keyCertSign')


def make_signed(folder, name, names, key=EC):
    """names: as subjectAltName has them; signed by ca."""
    make_one(folder, name, '-CA', f'{folder}/ca.pem', '-CAkey', f'{folder}/ca.key', '-addext', f'subjectAltName={names}',
             '-addext', 'basicConstraints=critical,CA:FALSE', key=key)


def make(folder):
    make_ca(folder, 'ca')
    make_ca(folder, 'other-ca')
    make_signed(folder, 'server', 'DNS:localhost,IP:127.0.0.1')
