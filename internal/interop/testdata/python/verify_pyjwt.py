"""Debian's python3-jwt judges tokens with the issuer's key set."""
import json
import sys

import jwt

q = json.load(sys.stdin)
keys = jwt.PyJWKClient(q["jwks_uri"])


def judge(raw):
    # PyJWT does not look at typ.
    if jwt.get_unverified_header(raw).get("typ") != "at+jwt":
        raise ValueError("typ")
    claims = jwt.decode(
        raw,
        keys.get_signing_key_from_jwt(raw).key,
        algorithms=[q["alg"]],
        issuer=q["issuer"],
        audience=q["audience"],
        options={"require": ["exp", "iat", "sub", "jti"]},
    )
    return claims["sub"]


answer = {}
for name, raw in q["tokens"].items():
    try:
        answer[name] = {"sub": judge(raw)}
    except Exception as e:
        answer[name] = {"error": repr(e)}
json.dump(answer, sys.stdout)
