// One JSON document a line: first the configuration, then orders {op, …}.
import { createInterface } from 'node:readline';

export async function serve(open, explain) {
  let orders;
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      const { op, ...args } = JSON.parse(line);
      if (!orders) {
        orders = await open(args);
        answer = {};
      } else {
        answer = await orders[op](args);
      }
    } catch (e) {
      answer = explain(e);
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
}

// whyNot tells an OAuth error from anything else, which is our mistake: problem.
export function whyNot(e) {
  if (e.error) return { error: e.error, status: e.status };
  if (e.code === 'OAUTH_WWW_AUTHENTICATE_CHALLENGE') {
    return { error: 'challenge ' + e.cause.map((c) => c.scheme).join(' '), status: e.status };
  }
  // For a 5xx the body is not read; the cause is the response.
  if (e.cause instanceof Response && e.cause.status >= 500) return { error: 'status', status: e.cause.status };
  const why = [];
  for (let at = e; at; at = at.cause instanceof Error ? at.cause : undefined) why.push(String(at), at.code ?? '');
  return { problem: why.join('; ') + '\n' + (e.stack ?? '') };
}
