// How ESLint checks the live page's JavaScript.

import js from "@eslint/js";
import globals from "globals";

/** What would parse text from events as markup, or run it. */
const PARSES_MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "createContextualFragment"];

export default [
  { ignores: ["**/*", "!*.js", "!api/", "!api/static/", "!api/static/*.js"] },
  js.configs.recommended,
  {
    rules: {
      "array-callback-return": "error",
      "arrow-body-style": "error",
      "consistent-return": "error",
      "default-case-last": "error",
      eqeqeq: "error",
      "max-lines": ["error", 300],
      "no-console": "error",
      "no-else-return": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-lonely-if": "error",
      "no-new-func": "error",
      "no-promise-executor-return": "error",
      "no-restricted-properties": ["error",
        ...PARSES_MARKUP.map((property) => ({ property, message: "Text is set as text, see dom.js." })),
        { object: "document", property: "write", message: "Text is set as text, see dom.js." },
      ],
      "no-self-compare": "error",
      "no-template-curly-in-string": "error",
      "no-throw-literal": "error",
      "no-unneeded-ternary": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-useless-concat": "error",
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "one-var": ["error", "never"],
      "prefer-arrow-callback": "error",
      "prefer-const": "error",
      "prefer-object-spread": "error",
      "prefer-rest-params": "error",
      "prefer-spread": "error",
      "prefer-template": "error",
      "require-atomic-updates": "error",
      yoda: "error",
    },
  },
  { files: ["api/static/*.js"], languageOptions: { globals: globals.browser } },
];
