import { CodeView } from "./code_view.js";
import { byId, fillStrings } from "./dom.js";
import { History } from "./history.js";
import { KeyDialog } from "./key_dialog.js";
import { NewVoice } from "./new_voice.js";
import { Player } from "./player.js";
import { ReadingView } from "./reading_view.js";
import { RequestForm } from "./request_form.js";
import { SamplePlayer } from "./sample_player.js";
import { Server } from "./server.js";
import { ServerWatch } from "./server_watch.js";
import { SoundView } from "./sound_view.js";
import { Speaking } from "./speaking.js";
import { strings } from "./strings.js";
import { Tabs } from "./tabs.js";
import { tell } from "./told.js";
import { VoiceList } from "./voice_list.js";
import { VoiceSample } from "./voice_sample.js";
import { VoicesView } from "./voices_view.js";

/** Put the parts of the page together. */
function start() {
  document.title = strings.title;
  fillStrings(document);
  const server = new Server();
  const watch = new ServerWatch();
  const voices = new VoiceList(server);
  const form = new RequestForm(voices);
  const player = new Player();
  const sound = new SoundView(server, player);
  const takes = new History();
  const reading = new ReadingView(server, form);
  const code = new CodeView(server, form);
  const samples = new SamplePlayer(player);
  const sample = new VoiceSample(voices, form, samples);
  const voicesView = new VoicesView(voices, samples);
  const newVoice = new NewVoice(server, voices, samples);
  const key = new KeyDialog(server);
  const tabs = new Tabs();
  const speaking = new Speaking(server, form, sound, takes);

  takes.addEventListener("listen", ({ take }) => {
    sound.begin(take);
    sound.finish();
  });
  takes.addEventListener("restore", ({ take }) => {
    form.request = take.request;
    tell(strings.history.restored);
  });
  sound.addEventListener("seed", ({ seed }) => {
    form.keepSeed(seed);
    tell(strings.take.keptSeed(seed));
  });

  sample.addEventListener("problem", ({ error }) => speaking.tellProblem(error));

  tabs.addEventListener("change", () => newVoice.leave());
  newVoice.addEventListener("saved", ({ name, warnings }) => {
    byId("new-voice").open = false;
    voicesView.showSaved(name, warnings);
  });
  voicesView.addEventListener("use", ({ name }) => {
    form.chooseVoice(name);
    tabs.show("speak");
    byId("speak").focus();
    tell(strings.voices.isUsed(name));
  });
  voicesView.addEventListener("renamed", ({ name, before }) => form.followRename(before, name));

  const load = async () => {
    try {
      await Promise.all([voices.load(), showModel(server), reading.ask()]);
      code.show();
    } catch {
      // The state of the server says it already, or the dialog for the key.
    }
  };
  key.addEventListener("change", load);
  server.addEventListener("unreachable", () => watch.look());
  watch.addEventListener("change", () => {
    showState(watch);
    if (watch.state !== "gone") load();
  });
  watch.look();
}

async function showModel(server) {
  const { data } = await server.json("GET", "v1/models");
  byId("model").textContent = data[0].id;
}

function showState({ state, reason }) {
  byId("state").dataset.state = state;
  byId("state").textContent = strings.state[state] ?? state;
  const help = strings.stateHelp[state];
  const banner = byId("state-help");
  banner.hidden = !help;
  banner.textContent = typeof help === "function" ? help(reason) : (help ?? "");
}

start();
