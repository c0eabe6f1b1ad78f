// A client as an integrator writes one, over the types that openapi-typescript makes of the API's document
// (tests/typescript_client.rs). It is compiled strictly, and each line that must not compile says so.
import createClient from 'openapi-fetch';
import type { paths } from './api.js';

declare const process: { argv: string[] };
const [origin, panelKey] = process.argv.slice(2);

type CreateKey = paths['/api/tenant/api-keys']['post'];

/** What an operation answers: its status tells which body it is. */
type Answer<Operation extends { responses: object }> = {
  [Status in keyof Operation['responses']]: Operation['responses'][Status] extends {
    content: { 'application/json': infer Body };
  }
    ? { status: Status; body: Body }
    : never;
}[keyof Operation['responses']];

async function createKey(key: string, body: CreateKey['requestBody']['content']['application/json']) {
  const client = createClient<paths, 'application/json'>({ baseUrl: origin, headers: { 'X-Bitcall-Panel-Key': key } });
  const { data, error, response } = await client.POST('/api/tenant/api-keys', { body });
  if (error) {
    // Without a look at the status it is any code that the operation can answer.
    const code: 'LAST_API_KEY' | typeof error.error.code = error.error.code;
    // @ts-expect-error: revoking answers this, and creating never does
    const never: 'LAST_API_KEY' = error.error.code;
    console.log(response.status, code, never);
  } else {
    const made: string = data.data.apiKey;
    console.log(response.status, made.slice(0, 8), data.data.purpose);
  }
  return { status: response.status, body: data ?? error } as Answer<CreateKey>;
}

const made = await createKey(panelKey, { tenantId: 'acme', purpose: 'pages' });
if (made.status === 200) {
  const purpose: 'pages' | 'backend' | 'both' = made.body.data.purpose;
  // @ts-expect-error: a success has no error
  console.log(purpose, made.body.error);
}

const full = await createKey(panelKey, { tenantId: 'acme' });
if (full.status === 409) {
  const code: 'API_KEY_LIMIT_REACHED' | 'IDEMPOTENCY_IN_PROGRESS' = full.body.error.code;
  // @ts-expect-error: not with this status
  const unauthorized: 'PANEL_UNAUTHORIZED' = full.body.error.code;
  console.log(code, unauthorized);
}

const stranger = await createKey('not the panel key', { tenantId: 'acme' });
if (stranger.status === 401) {
  const code: 'PANEL_UNAUTHORIZED' = stranger.body.error.code;
  console.log(code, stranger.body.error.message.length > 0);
}

// @ts-expect-error: not a purpose
const wrong = await createKey(panelKey, { tenantId: 'acme', purpose: 'all' });
if (wrong.status === 400) {
  console.log(wrong.body.error.code, wrong.body.error.fields?.map((fault) => fault.field).join());
}
