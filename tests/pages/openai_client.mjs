// The calls of the npm package `openai` that the quick start makes, for a test without network.
import { basename } from "node:path";

export default class OpenAI {
  constructor({ baseURL }) {
    const ask = async (path, method = "GET", body, type) => {
      const headers = { Authorization: `Bearer ${process.env.OPENAI_API_KEY}` };
      if (type) headers["Content-Type"] = type;
      const answer = await fetch(`${baseURL}${path}`, { method, headers, body });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      return answer;
    };
    const json = async (...call) => (await ask(...call)).json();
    this.files = {
      create: async ({ file, purpose }) => {
        const parts = [];
        for await (const part of file) parts.push(part);
        const form = new FormData();
        form.set("purpose", purpose);
        form.set("file", new Blob(parts), basename(file.path));
        return json("/files", "POST", form);
      },
      content: (id) => ask(`/files/${id}/content`),
    };
    this.batches = {
      create: (order) => json("/batches", "POST", JSON.stringify(order), "application/json"),
      retrieve: (id) => json(`/batches/${id}`),
    };
  }
}
