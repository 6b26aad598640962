// npm's oidc-provider as an issuer whose access tokens quash's verifier judges. It
// knows of quash only what publish does. First line in: {quash, nats, audience}; out: {issuer}.
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';
import { answer } from './stdio.mjs';

const lines = createInterface({ input: process.stdin });
const { value: line } = await lines[Symbol.asyncIterator]().next();
const config = JSON.parse(line);

const web = createServer();
await new Promise((ready) => web.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${web.address().port}`;

const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const key = { ...(await exportJWK(privateKey)), kid: 'p1', alg: 'ES256', use: 'sig' };
const resource = { scope: 'orders', audience: config.audience, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'ES256' } } };

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'shop', token_endpoint_auth_method: 'none', redirect_uris: ['http://127.0.0.1/callback'], application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], id_token_signed_response_alg: 'ES256',
  }],
  jwks: { keys: [key] },
  cookies: { keys: ['only for tests'] },
  scopes: ['openid', 'offline_access'],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // The grant is the session: it stays the same from refresh to refresh.
  extraTokenClaims: (ctx, token) => ({ sid: token.grantId }),
  issueRefreshToken: () => true,
  // Nobody is asked: the login is what the hint says, and the grant what is wanted.
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid offline_access');
    grant.addResourceScope('urn:orders', 'orders');
    await grant.save();
    return grant;
  },
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: () => resource, useGrantedResource: () => true },
  },
});

// The whole integration: a grant that ends is published, and the answer waits for it.
const publish = promisify(execFile);
provider.on('grant.revoked', (ctx, grantId) => {
  ctx.published = publish(config.quash, ['revoke', 'session', grantId, '--iss', issuer, '--nats', config.nats, '--by', 'user', '--reason', 'ended by oidc-provider']);
});
provider.use(async (ctx, next) => {
  await next();
  await ctx.published;
});

const serve = provider.callback();
web.on('request', async (req, res) => {
  if (!req.url.startsWith('/interaction/')) return serve(req, res);
  const { params, prompt } = await provider.interactionDetails(req, res);
  await provider.interactionFinished(req, res, prompt.name === 'login' ? { login: { accountId: params.login_hint } } : { consent: {} });
});
answer({ issuer });
lines.on('close', () => process.exit(0));
