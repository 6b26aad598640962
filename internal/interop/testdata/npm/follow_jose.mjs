// npm's jose judges one token a line, as long as lines come.
import { createInterface } from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { answer } from './stdio.mjs';

let q, keys;
for await (const line of createInterface({ input: process.stdin })) {
  let verdict = {};
  if (!q) {
    q = JSON.parse(line);
    keys = createRemoteJWKSet(new URL(q.jwks_uri), { cacheMaxAge: q.learn * 1000, cooldownDuration: q.learn * 1000 });
  } else {
    try {
      const { payload } = await jwtVerify(JSON.parse(line), keys, { issuer: q.issuer, audience: q.audience, typ: 'at+jwt', algorithms: [q.alg] });
      verdict = { sub: payload.sub };
    } catch (e) {
      verdict = { error: String(e) };
    }
  }
  answer(verdict);
}
