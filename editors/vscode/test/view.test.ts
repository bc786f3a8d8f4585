import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { describe as show, type ModelStatus, type View } from "../src/view.ts";

const clock = () => "14:05";
const engine = { model: "starter", device: "cpu", dtype: "q5", context_tokens: 4096 };
const ready: ModelStatus = { state: "ready", message: "", engine };

function view(given: Partial<View> = {}): View {
  return {
    server: { name: "running" },
    model: ready,
    loading: undefined,
    notice: undefined,
    silence: undefined,
    thinking: false,
    ...given,
  };
}

describe("the status bar", () => {
  it("says in one word how it stands", () => {
    const cases: [Partial<View>, text: string, tooltip: RegExp][] = [
      [{}, "$(sparkle) starter · cpu", /^Ready\.\n\nModel starter, q5 on cpu, 4096/],
      [{ thinking: true }, "$(loading~spin) starter · cpu", /^Thinking/],
      [
        { notice: { kind: "Inactive", message: "Git ignores this file." } },
        "$(circle-slash) starter · cpu",
        /^Git ignores this file\.\n\nModel/,
      ],
      [
        { model: { ...ready, state: "resting" } },
        "$(debug-pause) Stable Code",
        /rests/,
      ],
      [{ server: { name: "starting" } }, "$(loading~spin) Stable Code", /starts/],
      [{ model: undefined }, "$(loading~spin) Stable Code: loading", /being loaded/],
      [
        { loading: { stage: "read weights", percentage: 40 } },
        "$(loading~spin) Stable Code: loading 40%",
        /read weights/,
      ],
      [
        { loading: { stage: "start", percentage: undefined } },
        "$(loading~spin) Stable Code: loading",
        /start/,
      ],
      [
        { silence: { why: "disabled" } },
        "$(circle-slash) starter · cpu",
        /switched off/,
      ],
      [
        { silence: { why: "language", languageId: "go" } },
        "$(circle-slash) starter · cpu",
        /off for go/,
      ],
      [
        { silence: { why: "snoozed", untilMs: 0 } },
        "$(bell-slash) Stable Code: until 14:05",
        /until 14:05/,
      ],
    ];
    for (const [given, text, tooltip] of cases) {
      const shown = show(view(given), clock);
      assert.equal(shown.text, text);
      assert.match(shown.tooltip, tooltip);
      assert.equal(shown.severity, "none");
    }
  });

  it("says what is wrong, in colour", () => {
    const failed = { ...ready, state: "failed" as const, engine: null };
    const cases: [Partial<View>, severity: string, tooltip: RegExp][] = [
      [{ server: { name: "missing" } }, "warning", /not installed/],
      [{ server: { name: "failed", message: "No luck." } }, "error", /^No luck\.$/],
      [{ model: { ...failed, message: "No weights." } }, "error", /^No weights\.$/],
      [{ model: failed }, "error", /could not be loaded/],
      [{ notice: { kind: "Warning", message: "Slow." } }, "warning", /^Slow\./],
      [{ notice: { kind: "Error", message: "Broken." } }, "error", /^Broken\./],
    ];
    for (const [given, severity, tooltip] of cases) {
      const shown = show(view(given), clock);
      assert.equal(shown.severity, severity);
      assert.match(shown.tooltip, tooltip);
    }
  });

  it("is short where a model is a folder with a long name", () => {
    const model = "/home/ada/models/a-model-with-quite-a-long-name-indeed/";
    const shown = show(
      view({ model: { ...ready, engine: { ...engine, model } } }),
      clock,
    );
    assert.equal(shown.text, "$(sparkle) a-model-with-quite-a-lo… · cpu");
  });
});
