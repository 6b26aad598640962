"""Debian's python3-authlib as a client: one order a line in, one answer a line out."""
import json
import sys
import traceback
from urllib.parse import urlsplit

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

config = json.loads(sys.stdin.readline())
metadata = requests.get(config["issuer"] + "/.well-known/openid-configuration", timeout=10).json()
session = OAuth2Session(
    config["client_id"],
    config.get("client_secret") or None,
    token_endpoint_auth_method=config["auth"],
    revocation_endpoint_auth_method=config["auth"],
    token_endpoint=metadata["token_endpoint"],
    code_challenge_method="S256",
)
print("{}", flush=True)


def document(response):
    """Revocation and introspection answers come back as they are."""
    body = response.json() if response.content else {}
    if response.status_code != 200:
        return {"error": body["error"], "status": response.status_code}
    return body


def discover(args):
    at = urlsplit(config["issuer"])
    other = requests.get(f"{at.scheme}://{at.netloc}/.well-known/oauth-authorization-server{at.path}", timeout=10).json()
    return {"metadata": metadata, "metadata_oauth": other}


def refresh(args):
    return session.refresh_token(metadata["token_endpoint"], refresh_token=args["token"])


def client_credentials(args):
    return session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope=args.get("scope") or None)


def revoke(args):
    return document(session.revoke_token(metadata["revocation_endpoint"], token=args["token"], token_type_hint=args.get("hint") or None))


def introspect(args):
    return document(session.introspect_token(metadata["introspection_endpoint"], token=args["token"]))


pending = {}


def authorize(args):
    from authlib.common.security import generate_token

    session.redirect_uri, session.scope = args["redirect_uri"], args["scope"]
    pending.update(verifier=generate_token(48), nonce=generate_token(20))
    url, pending["state"] = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=pending["verifier"], nonce=pending["nonce"]
    )
    return {"url": url}


def callback(args):
    from authlib.jose import JsonWebKey, JsonWebToken
    from authlib.oidc.core import CodeIDToken

    token = session.fetch_token(
        metadata["token_endpoint"], authorization_response=args["url"], state=pending["state"], code_verifier=pending["verifier"]
    )
    keys = JsonWebKey.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())
    claims = JsonWebToken(metadata["id_token_signing_alg_values_supported"]).decode(
        token["id_token"],
        keys,
        claims_cls=CodeIDToken,
        claims_options={"iss": {"value": metadata["issuer"]}, "aud": {"value": config["client_id"]}},
        claims_params={"nonce": pending["nonce"], "client_id": config["client_id"], "access_token": token["access_token"]},
    )
    claims.validate()
    return {**token, "claims": claims}


def userinfo(args):
    session.token = {"access_token": args["token"], "token_type": "Bearer"}
    answer = session.get(metadata["userinfo_endpoint"]).json()
    if answer["sub"] != args["sub"]:
        raise ValueError("userinfo is about somebody else")
    return answer


for line in sys.stdin:
    order = json.loads(line)
    session.token = None
    try:
        answer = globals()[order.pop("op")](order)
    except OAuthError as e:
        answer = {"error": e.error}
    except Exception:
        answer = {"problem": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
