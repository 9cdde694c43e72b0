#!/usr/bin/env python3
"""Makes keys, certificates and configuration of a NATS server for Lotline, from secured.conf beside it.

    python3 make-keys.py --ledger ID --host nats.example --source erp --source scanner --dir /etc/lotline/nats

It needs Python 3.9 and the openssl command, and nothing else. What is there already is kept: run it again with
another --source to add one, and with --renew NAME to give a user, the server or the CA a new key. Restart the server,
or send it the signal HUP, to make it read them.

    DIR/secured.conf         the configuration, with the ledger's id and a user for each source
    DIR/keys.conf            public keys of the users, and where the certificate is
    DIR/seeds/NAME.nk        the secret of each user; hand each to its owner alone (--nats-nkey)
    DIR/tls/ca.crt           what clients have to trust (--nats-ca)
    DIR/tls/ca.key           signs certificates: take it off this machine
    DIR/tls/server.crt .key  the server's own
"""

import argparse
import base64
import ipaddress
import os
import re
import subprocess
import sys
from pathlib import Path

ROLES = ["handler", "projector", "analyst", "administrator", "system"]
DAYS_OF_CA = "3650"
DAYS_OF_SERVER = "398"


def openssl(*arguments, given=None):
    """Runs openssl; what it prints."""
    try:
        done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True)
    except FileNotFoundError:
        sys.exit("make-keys: the openssl command is not installed")
    except subprocess.CalledProcessError as error:
        sys.exit(f"make-keys: openssl {arguments[0]} failed: {error.stderr.decode(errors='replace').strip()}")
    return done.stdout


def crc16(data):
    """CRC-16/XMODEM, as nkeys have it."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


def nkey(prefix, key):
    """The text of a key: prefix, key and checksum in base 32."""
    raw = bytes(prefix) + key
    raw += crc16(raw).to_bytes(2, "little")
    return base64.b32encode(raw).decode().rstrip("=")


SEED, USER = 18 << 3, 20 << 3


def new_user():
    """Seed and public key of a new user."""
    # The last 32 bytes of both forms are the key itself.
    private = openssl("genpkey", "-algorithm", "ed25519", "-outform", "DER")
    public = openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", given=private)
    seed = nkey([SEED | USER >> 5, (USER & 31) << 3], private[-32:])
    return seed, nkey([USER], public[-32:])


def write_secret(path, text):
    """Writes what its owner alone may read; who owned it before owns it again."""
    before = path.stat() if path.exists() else None
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(text)
        if before and os.geteuid() == 0:
            os.fchown(file.fileno(), before.st_uid, before.st_gid)


def certificates(folder, host, renew):
    """The CA, and the server's certificate that it signs."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, ca, key, certificate = (folder / name for name in ["ca.key", "ca.crt", "server.key", "server.crt"])
    if "ca" in renew or not ca.exists():
        write_secret(ca_key, openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256").decode())
        openssl("req", "-x509", "-new", "-key", str(ca_key), "-out", str(ca), "-days", DAYS_OF_CA, "-subj",
                "/CN=Lotline NATS CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        renew = [*renew, "server"]
    if "server" in renew or not certificate.exists():
        if not ca_key.exists():
            sys.exit(f"make-keys: {ca_key} is not here: bring it back to sign a certificate, or --renew ca")
        names = [("IP:" if is_ip(name) else "DNS:") + name for name in host]
        write_secret(key, openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256").decode())
        request = openssl("req", "-new", "-key", str(key), "-subj", f"/CN={host[0]}")
        extensions = folder / "extensions"
        extensions.write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-days", DAYS_OF_SERVER,
                "-extfile", str(extensions), "-out", str(certificate), given=request)
        extensions.unlink()


def is_ip(name):
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return False


def variable(source):
    """The name of a source's key in keys.conf."""
    return "source_" + source.replace("-", "_dash_")


def configuration(template, ledger, sources):
    """The template with the ledger's id, and its user of a source once for each."""
    begin, end = template.index("      # BEGIN source"), template.index("      # END source\n")
    block = template[begin:end]
    blocks = [
        re.sub(r"\berp\b", source, block.replace("source_erp", "\0")).replace("\0", variable(source)).replace("BEGIN source", "Source")
        for source in sources
    ]
    rest = template[end + len("      # END source\n"):]
    return (template[:begin] + "\n".join(blocks) + rest).replace("LEDGER", ledger)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", required=True, help="the ledger's id, 32 hexadecimal digits: `lotline verify` tells it")
    parser.add_argument("--host", required=True, action="append", help="a name or address by which clients reach the server")
    parser.add_argument("--source", default=[], action="append", help="a system that sends commands, as a token of a subject")
    parser.add_argument("--renew", default=[], action="append", metavar="NAME", help="a user, `server` or `ca`")
    parser.add_argument("--dir", required=True, type=Path, help="where to put it all")
    parser.add_argument("--seen-as", metavar="DIR", help="the path that the server has to this folder, if it is another one")
    asked = parser.parse_args()
    if not re.fullmatch("[0-9a-f]{32}", asked.ledger):
        parser.error(f"--ledger {asked.ledger} is no id of a ledger, which has 32 hexadecimal digits (0-9, a-f)")
    for source in asked.source:
        if not re.fullmatch("[A-Za-z0-9-]+|([A-Za-z0-9-]|_[0-9A-F]{2})+", source):
            parser.error(f"--source {source} is no token: letters, digits and - stand for themselves, any other byte is "
                         "_ and two hexadecimal digits, so that a.1 is a_2E1")
        if source in ROLES:
            parser.error(f"--source {source} has the name of a role")

    folder = asked.dir.resolve()
    seeds = folder / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    seeds.chmod(0o700)
    keys = folder / "keys.conf"
    known = dict(re.findall(r"^(\w+): (U[A-Z2-7]{55})$", keys.read_text(), re.M)) if keys.exists() else {}
    before = [path.stem for path in sorted(seeds.glob("*.nk")) if path.stem not in ROLES]
    sources = sorted({*asked.source, *before})
    users = {**{source: variable(source) for source in sources}, **{role: role for role in ROLES}}
    unknown = set(asked.renew) - {"ca", "server", *users}
    if unknown:
        parser.error(f"--renew {', '.join(sorted(unknown))}: there is no such user; there are {', '.join(users)}, server and ca")
    if not sources:
        parser.error("name at least one --source")

    certificates(folder / "tls", asked.host, asked.renew)
    for user, name in users.items():
        path = seeds / f"{user}.nk"
        if user in asked.renew or name not in known or not path.exists():
            seed, known[name] = new_user()
            write_secret(path, f"# {user} of ledger {asked.ledger}\n{seed}\n")
            print(f"new key of {user}: {path}")
    lines = ["# Made by make-keys.py. Public keys: this file is no secret."]
    lines += [f"{name}: {known[name]}" for name in users.values()]
    seen = asked.seen_as or folder
    lines += [f'tls_certificate: "{seen}/tls/server.crt"', f'tls_key: "{seen}/tls/server.key"', ""]
    keys.write_text("\n".join(lines))
    template = (Path(__file__).parent / "secured.conf").read_text()
    (folder / "secured.conf").write_text(configuration(template, asked.ledger, sources))
    print(f"check it:  nats-server -t --config {folder}/secured.conf")


if __name__ == "__main__":
    main()
