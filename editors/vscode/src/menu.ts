/** The menu behind the status bar item. */

import { commands, type QuickPickItem, QuickPickItemKind, window } from "vscode";
import { SECTION } from "./settings.ts";
import type { Silence, View } from "./view.ts";

interface Entry extends QuickPickItem {
  readonly command?: string;
}

/** Show the menu and run what is chosen. */
export async function showMenu(
  view: View,
  languageId: string | undefined,
): Promise<void> {
  const chosen = await window.showQuickPick(entries(view, languageId), {
    title: "lsp-stablecode",
  });
  // A click on the status bar took the focus away, and the list gives it back there.
  await commands.executeCommand("workbench.action.focusActiveEditorGroup");
  if (chosen?.command !== undefined) {
    await commands.executeCommand(`${SECTION}.${chosen.command}`);
  }
}

function entries(view: View, languageId: string | undefined): Entry[] {
  const { server, silence } = view;
  const isRunning = server.name === "running";
  const found: (Entry | false)[] = [
    server.name === "missing" && {
      label: "$(cloud-download) Install the Server…",
      command: "installServer",
    },
    separator("Suggestions"),
    ...switches(silence, languageId),
    isRunning && {
      label: "$(question) Explain the Last Suggestion",
      command: "explainSuggestion",
    },
    separator("Server"),
    isRunning && {
      label: "$(server-environment) Switch the Model…",
      description: view.model?.engine?.model ?? "",
      command: "switchModel",
    },
    { label: "$(debug-restart) Restart the Server", command: "restartServer" },
    server.name !== "missing" && {
      label: "$(pulse) Run Doctor",
      description: "what is here, what is missing",
      command: "runDoctor",
    },
    { label: "$(output) Show the Log", command: "showLog" },
    { label: "$(gear) Open Settings", command: "openSettings" },
  ];
  return found.filter((entry) => entry !== false);
}

function switches(
  silence: Silence | undefined,
  languageId: string | undefined,
): (Entry | false)[] {
  if (silence?.why === "snoozed") {
    return [{ label: "$(bell) Resume Suggestions", command: "resumeSuggestions" }];
  }
  const isOff = silence?.why === "disabled";
  return [
    {
      label: isOff ? "$(check) Switch On" : "$(circle-slash) Switch Off",
      description: "everywhere",
      command: "toggleSuggestions",
    },
    languageId !== undefined &&
      !isOff && {
        label:
          silence?.why === "language"
            ? "$(check) Switch On"
            : "$(circle-slash) Switch Off",
        description: `for ${languageId}`,
        command: "toggleLanguage",
      },
    !isOff && { label: "$(bell-slash) Snooze…", command: "snoozeSuggestions" },
  ];
}

function separator(label: string): Entry {
  return { label, kind: QuickPickItemKind.Separator };
}
