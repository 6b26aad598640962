// One JSON document in, one out, each a line.
export async function question() {
  let text = '';
  for await (const piece of process.stdin) text += piece;
  return JSON.parse(text);
}

export function answer(value) {
  process.stdout.write(JSON.stringify(value) + '\n');
}
