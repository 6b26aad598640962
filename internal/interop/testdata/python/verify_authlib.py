"""Debian's python3-authlib judges tokens with the issuer's key set."""
import json
import sys

import requests
from authlib.jose import JsonWebKey, JsonWebToken

q = json.load(sys.stdin)
keys = JsonWebKey.import_key_set(requests.get(q["jwks_uri"], timeout=10).json())
verifier = JsonWebToken([q["alg"]])
essential = {
    "iss": {"essential": True, "value": q["issuer"]},
    "aud": {"essential": True, "value": q["audience"]},
    "exp": {"essential": True},
    "sub": {"essential": True},
}


def judge(raw):
    claims = verifier.decode(raw, keys, claims_options=essential)
    claims.validate()
    if claims.header.get("typ") != "at+jwt":
        raise ValueError("typ")
    return claims["sub"]


answer = {}
for name, raw in q["tokens"].items():
    try:
        answer[name] = {"sub": judge(raw)}
    except Exception as e:
        answer[name] = {"error": repr(e)}
json.dump(answer, sys.stdout)
