// oauth4webapi as a client: one order a line in, one answer a line out.
import * as oauth from 'oauth4webapi';
import { serve, whyNot } from './lines.mjs';

const loopback = { [oauth.allowInsecureRequests]: true }; // http, as on this machine

await serve(async (config) => {
  const issuer = new URL(config.issuer);
  const discover = async (algorithm) =>
    oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...loopback }));
  const as = await discover('oidc');
  const client = { client_id: config.client_id };
  const auth = {
    none: () => oauth.None(),
    client_secret_basic: () => oauth.ClientSecretBasic(config.client_secret),
    client_secret_post: () => oauth.ClientSecretPost(config.client_secret),
  }[config.auth]();
  const pending = {};

  return {
    async discover() {
      const other = await discover('oauth2');
      return { metadata: as, metadata_oauth: other };
    },
    async refresh({ token }) {
      const response = await oauth.refreshTokenGrantRequest(as, client, auth, token, loopback);
      return oauth.processRefreshTokenResponse(as, client, response);
    },
    async client_credentials({ scope }) {
      const response = await oauth.clientCredentialsGrantRequest(as, client, auth, scope ? { scope } : {}, loopback);
      return oauth.processClientCredentialsResponse(as, client, response);
    },
    async revoke({ token, hint }) {
      const additionalParameters = hint ? { token_type_hint: hint } : {};
      await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, { additionalParameters, ...loopback }));
      return {};
    },
    async introspect({ token }) {
      return oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, loopback));
    },
    async authorize({ redirect_uri, scope }) {
      Object.assign(pending, {
        redirect_uri, verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce(),
      });
      const url = new URL(as.authorization_endpoint);
      for (const [name, value] of Object.entries({
        client_id: config.client_id, response_type: 'code', redirect_uri, scope, state: pending.state, nonce: pending.nonce,
        code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier), code_challenge_method: 'S256',
      })) url.searchParams.set(name, value);
      return { url: url.href };
    },
    async callback({ url }) {
      const params = oauth.validateAuthResponse(as, client, new URL(url), pending.state);
      const response = await oauth.authorizationCodeGrantRequest(as, client, auth, params, pending.redirect_uri, pending.verifier, loopback);
      const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: pending.nonce, requireIdToken: true });
      await oauth.validateApplicationLevelSignature(as, response, loopback);
      return { ...tokens, claims: oauth.getValidatedIdTokenClaims(tokens) };
    },
    async userinfo({ token, sub }) {
      return oauth.processUserInfoResponse(as, client, sub, await oauth.userInfoRequest(as, client, token, loopback));
    },
  };
}, whyNot);
