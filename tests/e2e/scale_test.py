#!/usr/bin/env python3
"""scale_test.py BUILD [--long] [--model DIR --rate R]: the closed loop of scaling with real processes.

  ember bench ──load──► two brokers ◄── workers, started and stopped by a stand-in for systemctl(1)
                            │ wish                     ▲ --host=H show, start, stop
                            └──────► ember-scale ──────┘

Load is 1, then 4, then 1 times --rate. Workers must follow, and no call may fail, although meanwhile ember-scale is
killed and started anew, a worker is killed, and a host does not answer for a while. Workers that sleep make eight of
them possible on one core; --model takes real ones instead, of one thread each. --long has longer steps and judges P95
against 150 ms, within one stabilization window from each step.
"""
import argparse, json, os, re, signal, socket, subprocess, sys, tempfile, threading, time, urllib.request

SLEEP_US = 20000  # a text: 50 a second and worker


# ---------------------------------------------------------------- systemctl

def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def unit_file(directory, host, unit, what):
    return os.path.join(directory, f"{host}.{unit}.{what}")


def read_pid(name):
    with open(name, encoding="ascii") as f:
        return int(f.read())


def show(directory, host):
    for name in sorted(os.listdir(directory)):
        of, unit, what = name.split(".")
        if of != host or what != "pid":
            continue
        running = alive(read_pid(os.path.join(directory, name)))
        stopped = os.path.exists(unit_file(directory, host, unit, "stop"))
        state = ("deactivating" if stopped else "active") if running else "inactive"
        print(f"Id=ember-worker@{unit}.service\nActiveState={state}\n")


def start(directory, host, unit):
    pid_file, stop_file = (unit_file(directory, host, unit, what) for what in ("pid", "stop"))
    if os.path.exists(pid_file) and alive(read_pid(pid_file)):
        sys.exit(f"{host}: unit {unit} runs already")
    with open(os.path.join(directory, "command.worker.json"), encoding="utf-8") as f:
        command = json.load(f) + ["--name", f"{host}-{unit}"]
    with open(unit_file(directory, host, unit, "log"), "ab") as log:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with open(pid_file + "~", "w", encoding="ascii") as f:
        f.write(str(worker.pid))
    os.rename(pid_file + "~", pid_file)
    if os.path.exists(stop_file):
        os.remove(stop_file)


def stop(directory, host, unit):
    with open(unit_file(directory, host, unit, "stop"), "w", encoding="ascii"):
        pass
    os.kill(read_pid(unit_file(directory, host, unit, "pid")), signal.SIGTERM)


def systemctl(directory, words):
    host, verb, units = "localhost", None, []
    for word in words:
        if word.startswith("--host="):
            host = word[len("--host="):]
        elif word.startswith("--property=") and word != "--property=Id,ActiveState":
            sys.exit(f"unknown properties {word}")
        elif not word.startswith("--"):
            verb, units = (word, units) if verb is None else (verb, units + [word])
    if os.path.exists(os.path.join(directory, f"host.{host}.silent")):
        sys.exit(f"ssh: connect to host {host} port 22: No route to host")
    if verb == "show":
        return show(directory, host)
    if "--no-block" not in words:
        sys.exit("it would wait for a drain")
    for unit in units:
        {"start": start, "stop": stop}[verb](directory, host, unit.split("@")[1].removesuffix(".service"))


# ---------------------------------------------------------------- the fleet

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Fleet:
    def __init__(self, build, directory, window, cooldown):
        self.build, self.dir, self.window, self.cooldown = build, directory, window, cooldown
        self.units = os.path.join(directory, "units")
        os.mkdir(self.units)
        self.processes, self.samples, self.over = [], [], threading.Event()
        self.ends = [f"ipc://{directory}/b{i}" for i in range(2)]
        self.scale, self.http = None, f"127.0.0.1:{free_port()}"

    def run(self, name, *words):
        with open(f"{self.dir}/{name}.log", "ab") as log:
            process = subprocess.Popen([f"{self.build}/{words[0]}", *words[1:]], stdout=log, stderr=log,
                                       stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def begin(self, worker):
        for i, end in enumerate(self.ends):
            self.run(f"broker{i}", "broker/ember-broker", "--clients", end, "--workers", end + "w", "--http", "off",
                     "--name", f"b{i}", "--advertise", self.ends[1 - i], "--scale-stabilization", f"{self.window}s")
        with open(f"{self.units}/command.worker.json", "w", encoding="utf-8") as f:
            json.dump([f"{self.build}/{worker[0]}", *worker[1:], "--broker", self.ends[0] + "w", "--broker",
                       self.ends[1] + "w", "--redis", "off", "--http", "off", "--threads", "1"], f)
        with open(f"{self.dir}/hosts", "w", encoding="ascii") as f:
            f.write("# two hosts\na 6\nb.x 6\n".replace("b.x", "b"))
        with open(f"{self.dir}/systemctl", "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\nexec python3 "{os.path.abspath(__file__)}" systemctl "{self.units}" "$@"\n')
        os.chmod(f"{self.dir}/systemctl", 0o755)
        self.begin_scale()
        threading.Thread(target=self.watch, daemon=True).start()

    def begin_scale(self):
        self.scale = self.run("scale", "deploy/scale/ember-scale", "--broker", self.ends[0], "--broker", self.ends[1],
                              "--hosts", f"{self.dir}/hosts", "--systemctl", f"{self.dir}/systemctl", "--http", self.http,
                              "--interval", "500ms", "--cooldown", f"{self.cooldown}s", "--start-timeout", "20s",
                              "--retry", "5s")

    def status(self):
        asked = subprocess.run([f"{self.build}/client/cli/ember", "status", "--output", "json", "--timeout", "2s",
                                "--broker", self.ends[0]], capture_output=True, check=False)
        return json.loads(asked.stdout)["fleet"] if asked.returncode == 0 else {}

    def watch(self):
        began = time.monotonic()
        while not self.over.wait(0.5):
            fleet = self.status()
            if fleet:
                self.samples.append((time.monotonic() - began, fleet["live"], fleet.get("desired")))

    def wait_live(self, what, test, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.samples and test(self.samples[-1][1]):
                return self.samples[-1][1]
            time.sleep(0.2)
        self.fail(f"{what}: {self.samples[-1:]} after {seconds} s")

    def load(self, rate, seconds):
        return subprocess.Popen([f"{self.build}/client/cli/ember", "bench", "--broker", ",".join(self.ends), "--policy",
                                 "least-latency", "--rate", str(rate), "--soak", f"{seconds}s", "--warm-up", "0s",
                                 "--timeout", "60s", "--seed", str(rate), "--output", "json", "--report-json",
                                 f"{self.dir}/load{rate}.json"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, load, name, rate):
        _, said = load.communicate()
        with open(f"{self.dir}/load{rate}.json", encoding="utf-8") as f:
            report = json.load(f)
        if load.returncode or report["failed"] or not report["calls"]:
            self.fail(f"{name}: {report['failed']} calls failed, exit {load.returncode}: {said.decode()}")
        print(f"{name}: {report['calls']} calls, none failed; P95 {report['latency']['p95_us'] / 1e3:.1f} ms; "
              f"by part {[round(i['p95_us'] / 1e3) for i in report['intervals']]}", flush=True)
        return report["intervals"]

    def check_page(self):
        """It is ready, and docs/OPERATING.md tells each of its figures."""
        def get(path):
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as answer:
                return answer.read().decode()
        docs = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/OPERATING.md")
        with open(docs, encoding="utf-8") as f:
            told = f.read()
        names = set(re.findall(r"^(ember_scale_\w+)", get("/metrics"), re.M))
        untold = sorted(name for name in names if f"`{name}`" not in told)
        if len(names) < 8 or untold or get("/readyz") != "ready\n":
            self.fail(f"its page: {sorted(names)}, not in the docs: {untold}, {get('/readyz')!r}")

    def check_words(self):
        """What it says of wrong settings, and what it would do and does not."""
        def look(code, says, *words):
            given = [w for pair in (("--broker", self.ends[0]), ("--hosts", f"{self.dir}/hosts")) if pair[0] not in words for w in pair]
            ran = subprocess.run([f"{self.build}/deploy/scale/ember-scale", "--systemctl", f"{self.dir}/systemctl",
                                  "--once", "--dry-run", *given, *words],
                                 capture_output=True, text=True, check=False)
            if ran.returncode != code or says not in ran.stderr:
                self.fail(f"{words}: exit {ran.returncode}, want {code} and '{says}': {ran.stderr}")
        with open(f"{self.dir}/bad", "w", encoding="ascii") as f:
            f.write("a 1\nb\n")
        look(2, "/bad: line 2: ", "--hosts", f"{self.dir}/bad")
        look(1, "open '/nowhere'", "--hosts", "/nowhere")
        look(2, "is no name of a unit", "--unit", "a b")
        look(2, "min: 3 is more than max, 2", "--min", "3", "--max", "2")
        look(2, "go together", "--key", "x")
        look(2, "is no endpoint", "--broker", "x")
        look(2, "names several", "--broker", "ipc:///a,ipc:///b")
        look(2, "is there twice", "--broker", "ipc:///a", "--broker", "ipc:///a")
        look(1, "no broker tells its wish", "--broker", "ipc:///nowhere/b")
        look(0, "event=would-start host=b unit=5", "--min", "11")

    def pids(self):
        return [pid for name in os.listdir(self.units) if name.endswith(".pid")
                for pid in [read_pid(os.path.join(self.units, name))] if alive(pid)]

    def fail(self, text):
        for name in ("scale", "broker0", "broker1"):
            with open(f"{self.dir}/{name}.log", encoding="utf-8") as f:
                sys.stderr.write(f"--- {name}\n" + "".join(f.readlines()[-25:]))
        sys.stderr.write(f"--- (second, workers, wished for by one broker)\n{self.samples[-60:]}\n")
        sys.exit(f"scale_test: {text}")

    def end(self):
        self.over.set()
        for process in self.processes:
            process.kill()
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)


# ---------------------------------------------------------------- the steps

def late(intervals, after, limit_ms):
    """Parts of a report that begin `after` seconds or later and are slower than that."""
    return [i for i in intervals if i["at_s"] >= after and i["p95_us"] > 1000 * limit_ms]


def disturb(fleet, seconds):
    """In the middle of the peak: ember-scale and a worker are killed, a host is silent for a moment."""
    time.sleep(seconds * 0.4)
    fleet.scale.kill()
    os.kill(fleet.pids()[0], signal.SIGKILL)
    with open(f"{fleet.units}/host.b.silent", "w", encoding="ascii"):
        pass
    fleet.begin_scale()
    time.sleep(2)
    os.remove(f"{fleet.units}/host.b.silent")


def steps(fleet, rate, needs, seconds, judge):
    one, four = needs, 4 * needs
    fleet.wait_live("the least there may be", lambda live: live >= 1, 60)
    if not judge:
        fleet.check_words()
    load = fleet.load(rate, seconds[0])
    fleet.wait_live("workers for the first load", lambda live: live >= one, 60)
    fleet.finish(load, "1 x", rate)

    load = fleet.load(4 * rate, seconds[1])
    if not judge:
        disturb(fleet, seconds[1])
    fleet.wait_live("workers for four times as much", lambda live: live > (one + four) / 2, 60)
    intervals = fleet.finish(load, "4 x", 4 * rate)
    most = max(live for _, live, _ in fleet.samples)
    slow = late(intervals, fleet.window, 150) if judge else late(intervals, seconds[1] * 0.85, 5000)
    if slow:
        fleet.fail(f"P95 is still high: {slow}")

    load = fleet.load(rate, seconds[2])
    intervals = fleet.finish(load, "1 x again", rate)
    if judge and late(intervals, 0, 150):
        fleet.fail(f"P95 with fewer workers: {late(intervals, 0, 150)}")
    fleet.check_page()
    left = fleet.wait_live("workers go again", lambda live: live < (one + most + 1) / 2, 120)
    print(f"workers: {most} at most, {left} when it was over", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("build")
    arguments.add_argument("--long", action="store_true")
    arguments.add_argument("--model")
    arguments.add_argument("--precision", default="f32")
    arguments.add_argument("--rate", type=int, default=70)
    options = arguments.parse_args()
    worker = ["worker/ember-worker-fake", "--model", f"m=fake:dim=8,sleep_us={SLEEP_US}"]
    needs = 2  # workers for --rate: 70 / 50 / 0.7
    if options.model:
        worker = ["worker/ember-worker", "--model", f"m={options.model}", "--precision", options.precision]
        needs = 1
    window, cooldown, seconds = (60, 10, (60, 150, 240)) if options.long else (8, 2, (8, 22, 20))
    with tempfile.TemporaryDirectory() as directory:
        fleet = Fleet(os.path.abspath(options.build), directory, window, cooldown)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("scale_test: told to stop"))
        try:
            fleet.begin(worker)
            steps(fleet, options.rate, needs, seconds, options.long)
            if options.long:
                print("(second, workers, wished for by one broker):",
                      [s for i, s in enumerate(fleet.samples) if i % 6 == 0])
        finally:
            fleet.end()


if sys.argv[1:2] == ["systemctl"]:
    systemctl(sys.argv[2], sys.argv[3:])
else:
    main()
