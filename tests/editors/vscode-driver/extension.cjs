// A test's hand inside VS Code: runs what the test sends, with `vscode` at hand.

const { createServer } = require("node:net");
const vscode = require("vscode");
const { answerLines } = require("./lines.cjs");

exports.activate = (context) => {
  const kept = {};
  const server = createServer((socket) => {
    answerLines(socket, socket, { vscode, kept });
  });
  server.listen(process.env.VSCODE_DRIVER_SOCKET);
  context.subscriptions.push({ dispose: () => server.close() });
};
