// One JSON line in, one out: code to run with its arguments, and what it returned.

const { createInterface } = require("node:readline");

const AsyncFunction = (async () => {}).constructor;

exports.answerLines = (input, output, scope) => {
  const names = [...Object.keys(scope), "args"];
  createInterface({ input }).on("line", async (line) => {
    const { id, code, args } = JSON.parse(line);
    let answer;
    try {
      const run = new AsyncFunction(...names, code);
      const result = await run(...Object.values(scope), args);
      answer = { id, result: result === undefined ? null : result };
    } catch (error) {
      answer = { id, error: String(error?.stack ?? error) };
    }
    output.write(`${JSON.stringify(answer)}\n`);
  });
};
