// A resource server in JavaScript: `oauth4webapi` validates the token and the proof of its key, `jose` the status list
// that says whether it was revoked. docs/resource-servers.md walks through it.
//
// It guards the TLS secrets of an ingress: `GET` and `PATCH /secrets/<name>` need the scope `secrets.update` and an entry
// of `authorization_details` that permits `get` or `patch` of exactly that secret.
//
//     NODE_EXTRA_CA_CERTS=ca.pem node server.mjs --issuer https://localhost:8443 \
//         --resource https://ingress.prod.example.org --listen 127.0.0.1:8080

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { inflateSync } from 'node:zlib';

import * as jose from 'jose';
import * as oauth from 'oauth4webapi';

const CREDENTIALS = /^(bearer|dpop) [A-Za-z0-9\-._~+/]+=*$/i;
const CLUSTER = 'https://k8s.eu-west-1.prod.example.org';
const SCOPE = 'secrets.update';
const ACTIONS = new Map([['GET', 'get'], ['PATCH', 'patch']]);
const KNOWN = new Set(['type', 'actions', 'identifier', 'locations']);
// oauth4webapi takes a proof for five minutes on both sides of its own clock.
const PROOF_AGE = 300;
const MAX_PROOFS = 100_000;
const LIST_FRESH = 15;
const LIST_STALE = 120;
const MAX_LIST_BYTES = 1024 * 1024;

class Refused extends Error {
  constructor(status, error, scheme = 'Bearer') {
    super(error ?? 'no token');
    Object.assign(this, { status, error, scheme });
  }
}

const { values: given } = parseArgs({
  options: Object.fromEntries(['issuer', 'resource', 'listen'].map((name) => [name, { type: 'string' }])),
});
const issuer = new URL(given.issuer);
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' });
const server = await oauth.processDiscoveryResponse(issuer, discovered);
const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));

const now = () => Math.floor(Date.now() / 1000);

/** One header, one scheme, one space, one token; and at most one proof. */
function checkForm(request) {
  const authorization = request.headersDistinct.authorization ?? [];
  if (authorization.length === 0) throw new Refused(401);
  if (authorization.length > 1 || !CREDENTIALS.test(authorization[0])) throw new Refused(400, 'invalid_request');
  if ((request.headersDistinct.dpop ?? []).length > 1) throw new Refused(401, 'invalid_dpop_proof', 'DPoP');
  return authorization[0].split(' ');
}

async function verify(request, origin) {
  const [scheme, token] = checkForm(request);
  const dpop = scheme.toLowerCase() === 'dpop';
  const asked = new Request(origin + request.url, { method: request.method, headers: request.headers });
  let claims;
  try {
    // Type, signature, issuer, audience, times, and for a bound token the proof of its key.
    claims = await oauth.validateJwtAccessToken(server, asked, given.resource, { signingAlgorithms: ['ES256'] });
  } catch (error) {
    throw new Refused(401, 'invalid_token', dpop ? 'DPoP' : 'Bearer');
  }
  if (dpop) firstUse(claims.cnf.jkt, request.headers.dpop);
  if (claims.status !== undefined) await checkStatus(claims.status);
  return claims;
}

/** The library leaves to its caller that a proof is taken once. */
const proofs = new Map();
function firstUse(key, proof) {
  for (const [name, until] of proofs) {
    if (until >= now()) break;
    proofs.delete(name);
  }
  const name = `${key} ${jose.decodeJwt(proof).jti}`;
  if (proofs.has(name)) throw new Refused(401, 'invalid_dpop_proof', 'DPoP');
  if (proofs.size >= MAX_PROOFS) throw new Refused(503);
  proofs.set(name, now() + 2 * PROOF_AGE);
}

/** The token's place in the issuer's status list. A list that cannot be had, or is too old, is no permission. */
const lists = new Map();
async function checkStatus(status) {
  const { uri, idx } = status?.status_list ?? {};
  if (typeof uri !== 'string' || !uri.startsWith(`${given.issuer}/`) || !Number.isSafeInteger(idx) || idx < 0) {
    throw new Refused(401, 'invalid_token');
  }
  let list = lists.get(uri);
  if (list === undefined || now() - list.fetched >= list.fresh) {
    try {
      list = await fetchList(uri);
      lists.set(uri, list);
    } catch (error) {
      if (list === undefined || now() - list.issued >= LIST_STALE) throw new Refused(503);
    }
  }
  const place = idx * list.bits;
  if (place >= list.bytes.length * 8) throw new Refused(401, 'invalid_token');
  const value = (list.bytes[place >> 3] >> (place & 7)) & ((1 << list.bits) - 1);
  if (value !== 0) throw new Refused(401, 'invalid_token');
}

async function fetchList(uri) {
  const answer = await fetch(uri, {
    headers: { accept: 'application/statuslist+jwt' },
    redirect: 'error',
    signal: AbortSignal.timeout(10_000),
  });
  if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  const { payload } = await jose.jwtVerify(await answer.text(), keys, {
    typ: 'statuslist+jwt',
    subject: uri,
    algorithms: ['ES256'],
    requiredClaims: ['iat', 'status_list'],
  });
  const { bits, lst } = payload.status_list;
  if (![1, 2, 4, 8].includes(bits)) throw new Error('bits');
  const bytes = inflateSync(jose.base64url.decode(lst), { maxOutputLength: MAX_LIST_BYTES });
  // Asked for again when the list says so, and no later than this server wants it.
  return { bits, bytes, fetched: now(), issued: payload.iat, fresh: Math.min(payload.ttl ?? LIST_FRESH, LIST_FRESH) };
}

/** Whether one entry covers the action on the resource; an entry with a member that is not known here covers nothing. */
function permits(claims, action, identifier) {
  return (claims.authorization_details ?? []).some(
    (entry) =>
      Object.keys(entry).every((name) => KNOWN.has(name)) &&
      entry.type === 'k8s_object' &&
      entry.actions?.includes(action) &&
      entry.identifier === identifier &&
      entry.locations?.includes(CLUSTER),
  );
}

async function answer(request, origin) {
  const action = ACTIONS.get(request.method);
  if (action === undefined) throw new Refused(405);
  const claims = await verify(request, origin);
  if (!(claims.scope ?? '').split(' ').includes(SCOPE)) throw new Refused(403, 'insufficient_scope');
  const name = /^\/secrets\/([a-z0-9-]+)$/.exec(request.url)?.[1];
  const identifier = `ns/ingress/secret/${name}`;
  if (name === undefined || !permits(claims, action, identifier)) {
    throw new Refused(403, 'insufficient_authorization_details');
  }
  return `${action} ${identifier} for ${claims.client_id} under ${claims.jti}\n`;
}

const [host, port] = given.listen.split(':');
const http = createServer((request, response) => {
  // Where clients reach it, as their proofs say. Behind a TLS proxy this would be the proxy's https origin.
  answer(request, `http://${host}:${http.address().port}`)
    .then((text) => response.writeHead(200, { 'cache-control': 'no-store' }).end(text))
    .catch((error) => {
      const refused = error instanceof Refused ? error : new Refused(503);
      const headers = { 'cache-control': 'no-store' };
      if (refused.status === 405) {
        headers.allow = [...ACTIONS.keys()].join(', ');
      } else if (refused.status !== 503) {
        headers['www-authenticate'] = refused.scheme + (refused.error ? ` error="${refused.error}"` : '');
      }
      response.writeHead(refused.status, headers).end();
    });
});
http.listen(Number(port), host, () => console.log(`listening on ${host}:${http.address().port}`));
