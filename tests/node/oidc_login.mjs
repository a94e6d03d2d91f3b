// A person logs in to an application: npm's `openid-client` runs the authorization code flow, with PKCE and a nonce.
//
// Run by the end-to-end tests `people`:
//
//     NODE_EXTRA_CA_CERTS=<ca.pem> node oidc_login.mjs      # the order is one JSON object on standard input
//
// The order has `issuer`, `client_id` and `person`; with `nonce` the application expects that one whatever it sent. Prints
// one JSON object: `id_token`, or why there is none in `failed`.

import { text } from 'node:stream/consumers';

import * as openid from 'openid-client';

const order = JSON.parse(await text(process.stdin));
const redirectUri = 'https://app.example.org/callback';

/** What the person's browser does: it follows every redirect, with its cookies, until it is back at the application. */
async function browse(start) {
  const cookies = new Map();
  let url = start;
  for (let step = 0; step < 10; step += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(url, { redirect: 'manual', headers: cookie ? { cookie } : {} });
    for (const set of answer.headers.getSetCookie()) {
      const [name, ...value] = set.split(';')[0].split('=');
      cookies.set(name, value.join('='));
    }
    const location = answer.headers.get('location');
    if (location === null) throw new Error(`${url.pathname}: ${answer.status} ${await answer.text()}`);
    url = new URL(location, url);
    if (url.href.startsWith(redirectUri)) return url;
  }
  throw new Error('too many redirects');
}

async function login() {
  const config = await openid.discovery(new URL(order.issuer), order.client_id, undefined, openid.None());
  const verifier = openid.randomPKCECodeVerifier();
  const nonce = openid.randomNonce();
  const callback = await browse(
    openid.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope: 'openid',
      login_hint: order.person,
      nonce,
      claims: JSON.stringify({ id_token: { acr: null, amr: null, auth_time: null } }),
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }),
  );
  return openid.authorizationCodeGrant(config, callback, {
    pkceCodeVerifier: verifier,
    expectedNonce: order.nonce ?? nonce,
    idTokenExpected: true,
  });
}

try {
  const { id_token } = await login();
  console.log(JSON.stringify({ id_token }));
} catch (error) {
  console.log(JSON.stringify({ failed: `${error.code ?? error.name}: ${error.cause?.message ?? error.message}` }));
}
