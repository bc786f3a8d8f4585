// The part of the Python extension's interface that says which environment is chosen.

const vscode = require("vscode");

exports.activate = () => {
  const changed = new vscode.EventEmitter();
  let path = "python";
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
