// An OpenID provider: npm's `oidc-provider`, which knows two people and asks nobody for a password.
//
// Run by the end-to-end tests `people`:
//
//     node oidc_provider.mjs '{"port":…,"certificate":"cert.pem","key":"key.pem","clients":["app"],"lifetime":600}'
//
// `confidential` has more clients, which authenticate by the secrets there (RFC 6749 section 2.3.1).
//
// Serves https://localhost:<port>. `POST /rotate` gives it a new signing key in the place of the old one, and
// `POST /redirect` with `{"uri": …}` lets every client's people come back there, too. An interaction is
// over as soon as it begins: the person of the parameter `login_hint` is logged in, by password and one-time password.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { text } from 'node:stream/consumers';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const order = JSON.parse(process.argv[2]);
const issuer = `https://localhost:${order.port}`;
const people = new Map([
  ['alice', { groups: ['sre'], email: 'alice@example.org' }],
  ['bob', { groups: [], email: 'bob@example.org' }],
  // Has a password and nothing else.
  ['carol', { groups: ['sre'], email: 'carol@example.org' }],
  // Whose mailbox was looked at.
  ['dana', { groups: ['sre'], email: 'dana@example.org', email_verified: true }],
]);
const cookieKey = crypto.randomUUID();
const redirects = ['https://app.example.org/callback'];
const keys = new Map();

function client([id, secret]) {
  return {
    client_id: id,
    redirect_uris: [...redirects],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    ...(secret === undefined
      ? { token_endpoint_auth_method: 'none' }
      : { client_secret: secret, token_endpoint_auth_method: 'client_secret_basic' }),
    id_token_signed_response_alg: 'ES256',
    require_auth_time: true,
  };
}

async function provider(generation) {
  if (!keys.has(generation)) {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    keys.set(generation, { ...(await exportJWK(privateKey)), kid: `provider-${generation}`, use: 'sig', alg: 'ES256' });
  }
  const key = keys.get(generation);
  return new Provider(issuer, {
    clients: [...order.clients.map((id) => [id]), ...Object.entries(order.confidential ?? {})].map(client),
    jwks: { keys: [key] },
    cookies: { keys: [cookieKey] },
    acrValues: ['urn:example:two-factors'],
    claims: { openid: ['sub', 'groups', 'email', 'email_verified'], acr: null, amr: null, auth_time: null },
    conformIdTokenClaims: false,
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    features: { devInteractions: { enabled: false }, claimsParameter: { enabled: true } },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    ttl: { IdToken: order.lifetime, AccessToken: 600, AuthorizationCode: 60, Grant: 600, Interaction: 600, Session: 600 },
    findAccount: (_ctx, sub) => people.has(sub) && { accountId: sub, claims: () => ({ sub, ...people.get(sub) }) },
    async loadExistingGrant(ctx) {
      const { client: asking, session } = ctx.oidc;
      const grant = new ctx.oidc.provider.Grant({ clientId: asking.clientId, accountId: session.accountId });
      grant.addOIDCScope('openid');
      await grant.save();
      return grant;
    },
  });
}

let generation = 1;
let current = await provider(generation);

const server = createServer(
  { cert: readFileSync(order.certificate), key: readFileSync(order.key) },
  async (request, response) => {
    try {
      if (request.method === 'POST' && request.url === '/rotate') {
        generation += 1;
        current = await provider(generation);
        response.end('rotated');
      } else if (request.method === 'POST' && request.url === '/redirect') {
        redirects.push(JSON.parse(await text(request)).uri);
        current = await provider(generation);
        response.end('registered');
      } else if (request.url.startsWith('/interaction/')) {
        const { params } = await current.interactionDetails(request, response);
        const accountId = params.login_hint;
        const login = accountId === 'carol'
          ? { accountId, amr: ['pwd'] }
          : { accountId, acr: 'urn:example:two-factors', amr: ['pwd', 'otp'] };
        await current.interactionFinished(request, response, { login });
      } else {
        await current.callback()(request, response);
      }
    } catch (error) {
      response.statusCode = 500;
      response.end(String(error));
    }
  },
);
server.listen(order.port, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${order.port}`));
