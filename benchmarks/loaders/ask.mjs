// Stands below a loader's lines, which made `classify`: asks it the texts of spec.json, one at a time.
import { readFileSync, writeFileSync } from "node:fs";

const asked = JSON.parse(readFileSync("spec.json", "utf-8"));
const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf-8")).version;
const found = { tokens: [], scores: [], versions: { node: process.version } };
for (const text of asked.texts) {
  const { input_ids } = classify.tokenizer(text, { truncation: true });
  found.tokens.push(Array.from(input_ids.data, Number));
  const answers = await classify(text, { top_k: null });
  found.scores.push(Object.fromEntries(answers.map(({ label, score }) => [label, score])));
}
for (const name of asked.packages) found.versions[name] = version(name);
writeFileSync(asked.out, JSON.stringify(found));
