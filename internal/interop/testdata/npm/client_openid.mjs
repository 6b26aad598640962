// openid-client as a client: one order a line in, one answer a line out.
import * as client from 'openid-client';
import { serve, whyNot } from './lines.mjs';

await serve(async (config) => {
  const auth = {
    none: () => client.None(),
    client_secret_basic: () => client.ClientSecretBasic(config.client_secret),
    client_secret_post: () => client.ClientSecretPost(config.client_secret),
  }[config.auth]();
  const discover = (algorithm) =>
    client.discovery(new URL(config.issuer), config.client_id, { client_secret: config.client_secret }, auth,
      { algorithm, execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] });
  const as = await discover('oidc');
  const pending = {};

  return {
    async discover() {
      const other = await discover('oauth2');
      return { metadata: as.serverMetadata(), metadata_oauth: other.serverMetadata() };
    },
    refresh: ({ token }) => client.refreshTokenGrant(as, token),
    client_credentials: ({ scope }) => client.clientCredentialsGrant(as, scope ? { scope } : {}),
    async revoke({ token, hint }) {
      await client.tokenRevocation(as, token, hint ? { token_type_hint: hint } : {});
      return {};
    },
    introspect: ({ token }) => client.tokenIntrospection(as, token),
    async authorize({ redirect_uri, scope }) {
      Object.assign(pending, { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState(), expectedNonce: client.randomNonce() });
      return { url: client.buildAuthorizationUrl(as, {
        redirect_uri, scope, state: pending.expectedState, nonce: pending.expectedNonce,
        code_challenge: await client.calculatePKCECodeChallenge(pending.pkceCodeVerifier), code_challenge_method: 'S256',
      }).href };
    },
    async callback({ url }) {
      const tokens = await client.authorizationCodeGrant(as, new URL(url), { ...pending, idTokenExpected: true });
      return { ...tokens, claims: tokens.claims() };
    },
    userinfo: ({ token, sub }) => client.fetchUserInfo(as, token, sub),
  };
}, whyNot);
