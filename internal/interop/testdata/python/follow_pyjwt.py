"""Debian's python3-jwt judges one token a line, as long as lines come."""
import json
import sys

import jwt

q = json.loads(sys.stdin.readline())
keys = jwt.PyJWKClient(q["jwks_uri"], lifespan=q["learn"])
print("{}", flush=True)

for line in sys.stdin:
    raw = json.loads(line)
    try:
        key = keys.get_signing_key_from_jwt(raw).key
        claims = jwt.decode(raw, key, algorithms=[q["alg"]], issuer=q["issuer"], audience=q["audience"])
        verdict = {"sub": claims["sub"]}
    except Exception as e:
        verdict = {"error": repr(e)}
    print(json.dumps(verdict), flush=True)
