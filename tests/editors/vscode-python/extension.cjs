// The part of the Python extension's interface that says which environment is chosen.

const { existsSync, readFileSync } = require("node:fs");
const { setTimeout } = require("node:timers/promises");
const vscode = require("vscode");

exports.activate = async () => {
  const changed = new vscode.EventEmitter();
  // As where nothing is chosen; if it is to be slow, a file says when and what.
  const file = process.env.VSCODE_PYTHON_WAITS_FOR;
  let path = file ? await content(file) : "python";
  return {
    environments: {
      getActiveEnvironmentPath: () => ({ id: path, path }),
      updateActiveEnvironmentPath: async (chosen) => {
        path = chosen;
        changed.fire({ id: path, path });
      },
      onDidChangeActiveEnvironmentPath: changed.event,
    },
  };
};

async function content(file) {
  let text = "";
  while (!text) {
    await setTimeout(50);
    text = existsSync(file) ? readFileSync(file, "utf8") : "";
  }
  return text;
}
