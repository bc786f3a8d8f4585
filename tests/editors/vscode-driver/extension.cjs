// A test's hand inside VS Code: runs what the test sends, with `vscode` at hand.

const { rmSync } = require("node:fs");
const { createServer } = require("node:net");
const vscode = require("vscode");
const { answerLines } = require("./lines.cjs");

exports.activate = (context) => {
  const kept = {};
  const server = createServer((socket) => {
    answerLines(socket, socket, { vscode, kept });
  });
  const path = process.env.VSCODE_DRIVER_SOCKET;
  // An earlier process may have left it.
  rmSync(path, { force: true });
  server.listen(path);
  context.subscriptions.push({ dispose: () => server.close() });
};
