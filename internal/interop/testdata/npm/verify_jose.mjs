// npm's jose judges tokens with the issuer's key set.
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { answer, question } from './stdio.mjs';

const q = await question();
const keys = createRemoteJWKSet(new URL(q.jwks_uri));
const verdicts = {};
for (const [name, raw] of Object.entries(q.tokens)) {
  try {
    const { payload } = await jwtVerify(raw, keys, {
      issuer: q.issuer, audience: q.audience, typ: 'at+jwt', algorithms: [q.alg],
      requiredClaims: ['exp', 'iat', 'sub', 'jti', 'client_id'],
    });
    verdicts[name] = { sub: payload.sub };
  } catch (e) {
    verdicts[name] = { error: String(e) };
  }
}
answer(verdicts);
