// oauth4webapi judges tokens as a resource server of RFC 9068, from the issuer's metadata.
import * as oauth from 'oauth4webapi';
import { answer, question } from './stdio.mjs';

const q = await question();
const loopback = { [oauth.allowInsecureRequests]: true }; // http, as on this machine
const issuer = new URL(q.issuer);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...loopback }));
const verdicts = {};
for (const [name, raw] of Object.entries(q.tokens)) {
  const request = new Request('http://127.0.0.1/orders', { headers: { authorization: `Bearer ${raw}` } });
  try {
    const claims = await oauth.validateJwtAccessToken(as, request, q.audience, { signingAlgorithms: [q.alg], ...loopback });
    verdicts[name] = { sub: claims.sub };
  } catch (e) {
    verdicts[name] = { error: String(e) };
  }
}
answer(verdicts);
