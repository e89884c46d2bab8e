/** Cache keys: stands still, because looking twice is asking twice; only its acts come to life. */
import { enhance } from "./acts.js";

enhance(document.getElementById("page"));
