// An agent, or a resource server, in JavaScript: npm's `oauth4webapi`, `openid-client` and `jose`.
//
// Run by the end-to-end tests `oauth_clients::node`:
//
//     NODE_EXTRA_CA_CERTS=<ca.pem> node oauth_client.mjs <library> <deed>      # the order is one JSON object on standard input
//
// The order has `issuer` and `client_id`, who authenticates by `svid` (a JWT-SVID) or by `certificate` and `key` (PEM files
// of an X.509-SVID); with `dpop` the token is bound to a new key. Prints one JSON object: the answer, or the OAuth error.

import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';

import * as jose from 'jose';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const [library, deed] = process.argv.slice(2);
const order = JSON.parse(await text(process.stdin));
const issuer = new URL(order.issuer);

/** Client authentication by a JWT-SVID (draft-ietf-oauth-spiffe-client-auth); both libraries take a function. */
function jwtSpiffe(_server, client, body) {
  body.set('client_id', client.client_id);
  body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe');
  body.set('client_assertion', order.svid);
}

/** A `fetch` that shows a certificate, which that of Node.js cannot. */
function fetchWithCertificate(url, options = {}) {
  const agent = new Agent({
    cert: readFileSync(order.certificate),
    key: readFileSync(order.key),
    ca: readFileSync(process.env.NODE_EXTRA_CA_CERTS),
  });
  const { method = 'GET', headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    const call = httpsRequest(url, { agent, method, headers: Object.fromEntries(new Headers(headers)) }, async (answer) => {
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      const told = Object.entries(answer.headers).map(([name, value]) => [name, String(value)]);
      resolve(new Response(Buffer.concat(chunks), { status: answer.statusCode, headers: told }));
    });
    call.on('error', reject);
    call.end(body === undefined || body === null ? undefined : String(body));
  });
}

const mutual = order.certificate !== undefined;
const client = { client_id: order.client_id, use_mtls_endpoint_aliases: mutual };
const authentication = mutual ? oauth.TlsClientAuth() : jwtSpiffe;

/** How the token endpoint answered, one try after the other. */
const statuses = [];
async function watchedFetch(url, options) {
  const answer = await (mutual ? fetchWithCertificate : fetch)(url, options);
  if (String(url).endsWith('/oauth2/token')) statuses.push(answer.status);
  return answer;
}
const custom = { [oauth.customFetch]: watchedFetch };

/** The parameters of the exchange beside the grant type. */
function parameters() {
  const told = {
    subject_token: order.subject_token,
    subject_token_type: order.subject_token_type,
    actor_token: order.actor_token,
    actor_token_type: order.actor_token_type,
    authorization_details: order.details && JSON.stringify(order.details),
    scope: order.scope,
    audience: order.audience,
  };
  return Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined));
}

/** A token with the thumbprint of the key that it was asked for with, if it was. */
async function bound(token, keys) {
  if (keys === undefined) return token;
  return { ...token, jkt: await jose.calculateJwkThumbprint(await jose.exportJWK(keys.publicKey)), statuses };
}

const withOauth4webapi = {
  async server() {
    const answer = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' });
    return oauth.processDiscoveryResponse(issuer, answer);
  },

  async exchange() {
    const server = await this.server();
    const keys = order.dpop ? await oauth.generateKeyPair('ES256') : undefined;
    const dpop = keys && { DPoP: oauth.DPoP(client, keys) };
    const send = () =>
      oauth.genericTokenEndpointRequest(server, client, authentication, EXCHANGE, parameters(), { ...custom, ...dpop });
    const process = async () => oauth.processGenericTokenEndpointResponse(server, client, await send());
    try {
      return await bound(await process(), keys);
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error;
      // The library took the nonce from the answer.
      return bound(await process(), keys);
    }
  },

  async introspect() {
    const server = await this.server();
    const answer = await oauth.introspectionRequest(server, client, authentication, order.token, custom);
    return oauth.processIntrospectionResponse(server, client, answer);
  },

  async revoke() {
    const server = await this.server();
    const answer = await oauth.revocationRequest(server, client, authentication, order.token, custom);
    await oauth.processRevocationResponse(answer);
    return { revoked: true };
  },

  /** What a resource server does with a request. */
  async validate() {
    const server = await this.server();
    const headers = { authorization: `Bearer ${order.token}` };
    const asked = new Request(`${order.audience}/x`, { headers });
    return oauth.validateJwtAccessToken(server, asked, order.audience, { signingAlgorithms: ['ES256'] });
  },
};

const withOpenidClient = {
  async configuration() {
    const options = { algorithm: 'oauth2', [openid.customFetch]: watchedFetch };
    return openid.discovery(issuer, order.client_id, { use_mtls_endpoint_aliases: mutual }, authentication, options);
  },

  async exchange() {
    const configuration = await this.configuration();
    const keys = order.dpop ? await openid.randomDPoPKeyPair('ES256') : undefined;
    const options = keys && { DPoP: openid.getDPoPHandle(configuration, keys) };
    return bound(await openid.genericGrantRequest(configuration, EXCHANGE, parameters(), options), keys);
  },

  async introspect() {
    return openid.tokenIntrospection(await this.configuration(), order.token);
  },

  async revoke() {
    await openid.tokenRevocation(await this.configuration(), order.token);
    return { revoked: true };
  },

  /** The polling form of CIBA: asks, tells the test that somebody may approve, and polls. */
  async ciba() {
    const configuration = await this.configuration();
    const asked = await openid.initiateBackchannelAuthentication(configuration, order.backchannel);
    process.stderr.write(`${asked.intent_id}\n`);
    return openid.pollBackchannelAuthenticationGrant(configuration, asked);
  },
};

const withJose = {
  /** What a resource server does with a token. */
  async validate() {
    const server = await withOauth4webapi.server();
    const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));
    const options = { issuer: order.issuer, audience: order.audience, typ: 'at+jwt', algorithms: ['ES256'] };
    return (await jose.jwtVerify(order.token, keys, { ...options, requiredClaims: ['exp', 'iat', 'sub', 'jti'] })).payload;
  },
};

/** The OAuth error with its extension members, from whichever shape the library gives it. */
function told(error) {
  const cause = error.cause?.error !== undefined ? error.cause : undefined;
  if (cause !== undefined) return { status: error.status, ...cause };
  return { failed: error.code ?? error.name, message: error.message };
}

const deeds = { oauth4webapi: withOauth4webapi, 'openid-client': withOpenidClient, jose: withJose }[library];
let answer;
try {
  answer = await deeds[deed]();
} catch (error) {
  answer = told(error);
}
process.stdout.write(JSON.stringify(answer));
