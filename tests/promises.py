"""The ledger of promises: what Rune says it does, where it says so, and which test holds it to that.

A promise with a test stands in PROMISES; `@promise("its.id")` binds the test to it. A promise of
something that is not built yet stands in PLANNED under the feature it belongs to, and moves up
together with its first test. tests/unit/test_promises.py compares both lists with the marks.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from weak_spots import WEAK_SPOTS

API = "published API of the orchestrator"
SECURITY = "published API of agent security"
OURS = "our own decision"


class Promise(NamedTuple):
    """One sentence that somebody may rely on; `source` says who made it."""

    id: str
    sentence: str
    source: str


def promise(*ids: str) -> pytest.MarkDecorator:
    """Marks a test as the one (or one of those) that holds Rune to these promises."""
    return pytest.mark.promise(*ids)


PROMISES = (
    *(Promise(f"weak-spot.{number:02}", sentence, OURS) for number, sentence in WEAK_SPOTS.items()),
    Promise("clients.go", "A Go program on code generated from api/rune.proto works against runed.", API),
    Promise(
        "autoscale.cpu",
        "autoscale keeps copies near their target: more at once, fewer after a cooldown, within bounds.",
        OURS,
    ),
    Promise("env.references", "`{{secret:name/key}}` in `env` becomes the value, in the copy alone.", API),
    Promise("traffic.tls", "`expose.tls` serves nothing unencrypted, and its key rests sealed.", OURS),
    Promise("logs.readers", "A reader of a log that stalls holds up neither the workload nor others.", OURS),
    Promise("runesets.templates", "Templates take the language that Go's and Helm's users know.", OURS),
    Promise("runesets.places", "A mistake in a template is told with file, line and column.", OURS),
    Promise("runesets.origin", "A mistake in what a template gives is told at its place there.", OURS),
    Promise("runesets.sealed", "No rendering, diff or message repeats a sensitive value.", OURS),
    Promise("runesets.bounded", "No template can exhaust the machine it is rendered on.", OURS),
    Promise("runesets.fuzz", "Any text is rendered or refused, and nothing else happens.", OURS),
    Promise("runesets.precedence", "--set wins over --values, and that over values.yaml.", OURS),
    Promise("runesets.metadata", "A mistake in runeset.yaml is told with the nearest right word.", OURS),
    Promise("runesets.archives", "The same files are packed into the same bytes.", OURS),
    Promise(
        "runesets.escape", "Nothing in an archive leaves its folder; links and devices are refused.", OURS
    ),
    Promise("runesets.bombs", "An archive that explodes is refused before it does.", OURS),
    Promise(
        "runesets.download", "A download is bounded, and leads neither to http nor into a network.", OURS
    ),
    Promise("runesets.checksum", "A runeset with another checksum than the given one is refused.", OURS),
    Promise("runesets.git", "A runeset comes from a git reference; nothing of the repository is run.", OURS),
    Promise("watch.lists", "Every list of resources can be watched, over REST too.", OURS),
    Promise("cast.idempotent", "Casting the same files again changes nothing.", OURS),
    Promise("cast.order", "What others stand on is sent first.", OURS),
    Promise("cast.partial", "A cast that fails midway tells what was done and what was not sent.", OURS),
    Promise("lint.offline", "rune lint finds wrong references, slips and spilled secrets offline.", OURS),
    Promise("mcp.transparent", "What the guard does not stop passes as it was, whatever the feature.", OURS),
    Promise("mcp.attacks", "Recorded attacks by way of MCP servers are stopped.", OURS),
    Promise("mcp.harmless", "Harmless sessions pass the guard untouched.", OURS),
    Promise("mcp.policy", "Tools that a policy blocks are neither shown nor called.", OURS),
    Promise("mcp.approvals", "While a person is asked about one call, the guard carries all else.", OURS),
    Promise("mcp.abuse", "No message of either side ends the guard or lets another tool in.", OURS),
    Promise("mcp.pins", "A tool that changes is kept back until somebody accepts it.", OURS),
    Promise(
        "mcp.crash", "When a guarded server dies, its callers are answered and its exit code is kept.", OURS
    ),
    Promise("mcp.events", "What the guard stops is an alert at the control plane.", OURS),
    Promise("mcp.wrap", "Taking the guard away gives back every byte of a host's file.", OURS),
    Promise("mcp.http", "runed speaks MCP at /mcp, with the rights of each request's credential.", OURS),
    Promise("mcp.sessions", "An MCP session answers nobody but the one who opened it.", OURS),
    Promise("mcp.origins", "No page of another origin gets an answer from /mcp.", OURS),
    Promise("mcp.subscriptions", "Whoever subscribes to a resource is told of its changes.", OURS),
    Promise("errors.grpc", "Every failure has the gRPC status that the published table gives it.", API),
    Promise(
        "errors.http",
        "Over REST the failures read 401, 403, 404, 409, 400, 412 and 500, in the order of the table.",
        API,
    ),
    Promise("errors.return", "A client turns every status back into the failure that was raised.", OURS),
    Promise(
        "errors.violations", "A malformed request is answered with every violation, not the first.", OURS
    ),
    Promise("auth.required", "Every request but AdminBootstrap is refused without a bearer token.", API),
    Promise("auth.bad", "A missing, unknown, expired or revoked token is Unauthenticated.", API),
    Promise("auth.denied", "A valid token that no rule covers is PermissionDenied.", API),
    Promise("auth.revoked", "Revoking a token ends its open streams as well.", OURS),
    Promise("auth.stored", "Of a token only its SHA-256 is stored.", OURS),
    Promise("login.password", "A user's name and password begin a session.", OURS),
    Promise(
        "login.stored", "Of passwords only argon2id hashes are stored, of sessions' tokens SHA-256.", OURS
    ),
    Promise(
        "login.slowed", "Wrong passwords are answered more and more slowly, unknown users like others.", OURS
    ),
    Promise(
        "login.own-password", "Who knows the old password changes it; other sessions of that user end.", OURS
    ),
    Promise("login.cli", "`rune login --user` begins a session that goes on while commands are used.", OURS),
    Promise("oidc.login", "Whoever the OpenID provider knows logs in, with what their groups give.", OURS),
    Promise("oidc.lies", "A word of the OpenID provider that does not hold lets nobody in.", OURS),
    Promise("oidc.once", "A log-in at the provider is finished once, where it was begun.", OURS),
    Promise("session.rotates", "A refresh token is good for one trade, and a grace for two at a time.", OURS),
    Promise("session.reuse", "A refresh token that was traded before ends its session.", OURS),
    Promise("session.ends", "Logging out, revoking and deleting the user end a session's streams.", OURS),
    Promise("bootstrap.once", "AdminBootstrap works once.", API),
    Promise("bootstrap.loopback", "AdminBootstrap works from loopback only, unless allowed.", API),
    Promise("access.built-in", "root, admin, readwrite and readonly exist and cannot be changed.", API),
    Promise("access.audit", "Every change and every denial is in the audit log, chained by hash.", OURS),
    Promise("audit.atomic", "A change and its record in the audit log are one transaction.", OURS),
    Promise(
        "agents.quarantine",
        "By policy, a critical alert stops the workload of its agent, revokes its keys, "
        "and the audit log says why.",
        OURS,
    ),
    Promise(
        "agents.quarantine-time", "From the event to a stopped instance it takes a second at most.", OURS
    ),
    Promise(
        "agents.quarantine-by-hand", "A quarantine by hand holds until a release, over restarts too.", OURS
    ),
    Promise("agents.endpoint", "An agent is told an address and an authority that fit, also with TLS.", OURS),
    Promise("agents.release", "A release brings workload and keys back; old alerts do not lead back.", OURS),
    Promise(
        "approvals.wait", "A call that needs approval waits for a person, and blocks no event loop.", OURS
    ),
    Promise("approvals.once", "An approval is decided once, and the audit log has who and why.", OURS),
    Promise("approvals.people", "No API key decides unless approvals:write is spelled out.", OURS),
    Promise(
        "approvals.bounded", "Many calls wait on one thread; past a bound they are denied at once.", OURS
    ),
    Promise("approvals.cli", "`rune approvals` lists, approves and denies.", OURS),
    Promise("shield.run", "`rune run` guards models and tools of a program that knows nothing of it.", OURS),
    Promise("agents.isolate", "A container in quarantine can go on without a network instead.", OURS),
    Promise("tls.doors", "With auth.tls both doors speak TLS 1.2 or newer, and nothing else.", OURS),
    Promise("tls.mutual", "A client's certificate stands for the subject that it names.", OURS),
    Promise(
        "tls.reload",
        "SIGHUP changes the certificates of both doors, and ends no connection that is open.",
        OURS,
    ),
    Promise("tls.plain", "A client sends no token unencrypted to another machine, unless told to.", OURS),
    Promise("auth.slowed", "Wrong credentials of an address are answered more and more slowly.", OURS),
    Promise("auth.last-root", "The last token that may do everything is not revoked unless forced.", OURS),
    Promise(
        "audit.tampered", "What was changed, dropped, reordered or cut off in the audit log is named.", OURS
    ),
    Promise("audit.retention", "What is left of the audit log after pruning can still be verified.", OURS),
    Promise("audit.offline", "An export, a backup or a data folder is verified without the server.", OURS),
    Promise("backup.whole", "A backup taken while others write is whole, and restores what was there.", OURS),
    Promise("doors.origins", "No page of another origin gets an answer from REST.", OURS),
    Promise("doors.health", "/healthz is 200 while reconciling and 503 when the store is away.", OURS),
    Promise("limits.streams", "One subject has only so many streams open at a time.", OURS),
    Promise("traffic.address", "A service with ports answers at one address for life.", OURS),
    Promise("traffic.copies", "Copies of one port, and services of one port, run beside each other.", OURS),
    Promise("traffic.rollout", "A roll-out under load loses no request.", OURS),
    Promise("traffic.drain", "Connections of a leaving copy may end within its drain time.", OURS),
    Promise("traffic.retry", "A copy that refuses a connection is passed over for another.", OURS),
    Promise("traffic.ready", "Only ready copies get connections.", OURS),
    Promise("traffic.bytes", "No byte is lost, mixed or kept without bound on the way.", OURS),
    Promise("traffic.place", "A place of the machine is exposed by one service; another is refused.", OURS),
    Promise("traffic.forward", "port-forward reaches declared ports, with a permission of its own.", OURS),
    Promise(
        "dashboard.live",
        "A change is on the screen half a second after the store has it, without a reload.",
        OURS,
    ),
    Promise("dashboard.escapes", "What agents and workloads say is shown as text, never as HTML.", OURS),
    Promise(
        "dashboard.sessions",
        "The dashboard's credential stays in the server; the cookie is for no script.",
        OURS,
    ),
    Promise(
        "dashboard.origins", "No page of another origin does anything through a logged-in browser.", OURS
    ),
    Promise("dashboard.order", "Lists of alerts cost what they show, and stand in the order of time.", OURS),
    Promise("dashboard.webhooks", "A webhook is made in the dashboard, and its secret shown once.", OURS),
    Promise(
        "dashboard.registries", "A registry is added in the dashboard; its password is never shown.", OURS
    ),
    Promise("dashboard.ending-sessions", "A session that is ended is over in its browser at once.", OURS),
    Promise(
        "dashboard.oidc", "Single sign-on leads into the dashboard, for the browser that began it.", OURS
    ),
    Promise("dashboard.codes", "`rune ui` logs a browser in with a link that works once.", OURS),
    Promise("dashboard.rights", "The dashboard shows each principal what it may see, and no more.", OURS),
    Promise("dashboard.secrets", "No page holds the value of a secret.", OURS),
    Promise(
        "dashboard.approvals", "A tool call that waits is approved or denied in the dashboard, once.", OURS
    ),
    Promise("dashboard.restarts", "A browser that is logged in stays so when runed restarts.", OURS),
    Promise("dashboard.pictures", "Every page is photographed by the tests, on desktop and phone.", OURS),
    Promise(
        "dashboard.accessible", "Every page passes axe without a serious finding, on desktop and phone.", OURS
    ),
    Promise("access.rule", "One covering rule (resource, verb, namespace) of any policy is enough.", API),
    Promise("doors.numbers", "A client generated from the published contract works unchanged.", API),
    Promise("rest.get", "GET on a resource's path is its Get operation.", API),
    Promise("rest.list", "GET on a collection's path is its List operation.", API),
    Promise("rest.create", "POST on a collection's path is its Create operation.", API),
    Promise("rest.update", "PUT on a resource's path is its Update operation.", API),
    Promise("rest.delete", "DELETE on a resource's path is its Delete operation.", API),
    Promise("security.curl", "Every example of the security API works as it is written.", SECURITY),
    Promise("security.events", "POST /v1/events answers 202 with the number of events it stored.", SECURITY),
    Promise(
        "security.tail", "Events are followed as they come in, each once, across broken connections.", OURS
    ),
    Promise("security.idempotent", "An event that is sent again is stored once.", OURS),
    Promise("security.agents", "POST /v1/agents registers an agent, GET lists all of them.", SECURITY),
    Promise("security.self-registration", "An agent that sends an event is registered by it.", OURS),
    Promise(
        "security.policies", "Policies are compiled first; each change of YAML is one version.", SECURITY
    ),
    Promise("security.alerts", "Events that are risky, blocked or told of raise alerts, counted.", SECURITY),
    Promise("security.false-positive", "A false positive becomes a pattern that agents let pass.", SECURITY),
    Promise(
        "security.pages", "Lists give pages of 50, at most 200, and a cursor while there is more.", SECURITY
    ),
    Promise("security.health", "GET /health answers without a credential.", SECURITY),
    Promise("security.errors", "Failures read {error: …} with 400, 401, 403, 404 and 429.", SECURITY),
    Promise("security.permissions", "A key may read whatever its permissions; they add writing.", SECURITY),
    Promise(
        "security.limits", "100 reads and 30 writes a minute and 1,000 events a second, exactly.", SECURITY
    ),
    Promise("security.keys", "Of an API key only its SHA-256 is stored; revoking counts at once.", OURS),
    Promise("security.tenants", "Nothing of one organization reaches another.", OURS),
    Promise("security.two-seconds", "A changed policy is in force in every agent within two seconds.", OURS),
    Promise("security.webhooks", "Webhooks are signed, tried again, and lead to no private address.", OURS),
    Promise("security.watches", "Alerts, agents, policies, approvals and API keys can be watched.", OURS),
    Promise(
        "security.silence", "An agent that falls silent unlike it is told of, once for each silence.", OURS
    ),
    Promise(
        "security.acting", "A token with the right grant acts in another organization by naming it.", OURS
    ),
    Promise("rest.document", "runed answers what its OpenAPI document says, on both planes.", OURS),
    Promise(
        "security.webhooks-sealed", "What webhooks are signed with is sealed, and its KEK is rotated.", OURS
    ),
    Promise(
        "events.durable", "A batch of events that was acknowledged survives a kill, and all of it.", OURS
    ),
    Promise(
        "events.limit",
        "A limit of events lets through neither more nor noticeably less, however many connections ask.",
        OURS,
    ),
    Promise("events.once", "An event that is sent again is accepted, and stored once.", OURS),
    Promise("events.counted", "Counters, series and rankings say what the stored events say.", OURS),
    Promise("events.full", "A full disk refuses events with Unavailable, and is got over.", OURS),
    Promise("crud.in-use", "Deleting what something depends on is FailedPrecondition.", API),
    Promise("crud.generation", "An accepted change of the spec raises its generation by one.", API),
    Promise("crud.same", "The same spec again changes nothing, unless forced.", API),
    Promise("work.scale", "As many instances run as the service's scale says.", API),
    Promise("work.backoff", "A crash loop is retried more and more slowly, and the status says so.", API),
    Promise("rollout.undone", "A rollout whose copies fail is undone, and says why.", OURS),
    Promise("rollout.same", "A cast that changes nothing touches no instance, whatever stored it.", OURS),
    Promise("rollout.surge", "All rollouts together add a bounded number of copies.", OURS),
    Promise("scaling.gradual", "A gradual scaling goes by steps, and ends with another scaling.", OURS),
    Promise("scaling.undone", "A scaling that is watched over is undone when its copies fail.", OURS),
    Promise("scaling.lost", "Of scalings at the same time none is lost and one stands.", OURS),
    Promise("deletion.staged", "A deletion can be followed through its stages.", API),
    Promise("deletion.stuck", "A deletion that is stuck says why, and is tried on.", OURS),
    Promise("deletion.force", "A deletion that is stuck can be cleared by force.", OURS),
    Promise("deletion.free", "A deletion that is stuck does not hold up the next cast of its name.", OURS),
    Promise("deletion.crash", "A deletion goes on after a crash in any of its stages.", OURS),
    Promise("health.startup", "Until the startup probe agrees nothing else is asked of a copy.", OURS),
    Promise("health.ready", "Only a copy whose probes agree counts as ready.", API),
    Promise("secrets.never", "No read, list, watch, log line or error shows the value of a secret.", API),
    Promise("secrets.reveal", "Revealing a value takes a right of its own, and is audited.", OURS),
    Promise("secrets.rest", "On disk a secret is sealed for its namespace, name and version.", API),
    Promise("secrets.limits", "A secret has at most 64 keys of at most 64 KiB each.", API),
    Promise("work.outlive", "Workloads outlive runed: stopped, killed or upgraded, same processes.", OURS),
    Promise("work.chaos", "Kills, a full disk and sick probes lose nothing and disturb nobody else.", OURS),
    Promise("work.enforced", "A limit that cannot be enforced refuses the service with the reason.", OURS),
    Promise("work.sandbox", "A process in a sandbox has no way out of it that it could take alone.", OURS),
    Promise("work.memory", "A process that is killed for its memory limit says so in its status.", OURS),
    Promise("doors.one-road", "Both doors lead through the same identity, rights and validation.", API),
    Promise("rest.streams", "A streaming operation is served as Server-Sent Events.", API),
    Promise("rest.bases", "Each group of resources lies under the path the contract names.", API),
    Promise("rest.json", "JSON goes out in lowerCamelCase with zeros present; both spellings come in.", API),
    Promise("shield.l3", "With l3_mode=sync a scan obeys the judge.", OURS),
    Promise(
        "shield.l3-async", "By default the judge's verdict comes as an event, and no scan waits for it.", OURS
    ),
    Promise(
        "shield.client", "A client under a Shield is of the class it was, and so is all it returns.", OURS
    ),
    Promise("shield.stream", "Of a stream nothing is passed on before what follows it was scanned.", OURS),
    Promise(
        "shield.tools", "A tool call that is blocked is not made, whichever framework would make it.", OURS
    ),
    Promise("scan.offline", "`rune scan` reads texts, files, folders and stdin without a server.", OURS),
    Promise("events.stored", "An event is stored whole, in order, for its organization alone.", OURS),
    Promise("events.read", "Queries, pages and followers see each event once, while others come in.", OURS),
    Promise("namespaces.life", "A namespace goes when it is empty, or by force with all it holds.", OURS),
    Promise("runners.life", "On every runner starting, stopping and removing may be said twice.", OURS),
    Promise("runners.files", "Files for a workload are there, change, and stay in their folder.", OURS),
    Promise("runners.logs", "Logs come in order, by number and time, across attempts.", OURS),
    Promise("stores.commits", "A commit happens whole or not at all, in one order, never unseen.", OURS),
    Promise("stores.journals", "A journal has no gaps, and no number of it comes twice.", OURS),
    Promise("stores.reads", "A read shows what was committed, in the order of keys.", OURS),
    Promise("stores.watches", "A watch shows each change once and in order, or says that it cannot.", OURS),
    Promise("cli.table", "Every operation with a command has it, with help and an example.", OURS),
    Promise("shield.guards", "A guarded client or framework lets harmless talk pass as it was.", OURS),
    Promise("shield.asgi", "Middleware scans what an ASGI application is told and says.", OURS),
    Promise("shield.events", "Events say who, when and what, once for each call.", OURS),
    Promise("shield.guest", "A Shield costs its host no wait, no leftover thread and no lost event.", OURS),
    Promise("shield.page", "Every program on the Shield's page runs.", OURS),
    Promise("shield.privacy", "No text and no argument leaves the process unless that is asked for.", OURS),
    Promise("mcp.tools", "Over MCP an assistant may do what its credential may, and no more.", OURS),
    Promise("security.openapi", "Whatever the security API's document allows is answered as it says.", OURS),
    Promise("security.grpc", "The security plane answers over gRPC as it does over REST.", OURS),
    Promise("terminal.rights", "A terminal in a browser has the rights of its token, and one origin.", OURS),
    Promise("doors.grpc", "gRPC is served on port 7863 unless told otherwise.", API),
    Promise("doors.rest", "REST is served on port 7861 unless told otherwise.", API),
    Promise("doors.package", "Each group of resources is one gRPC service in the package rune.api.", API),
    Promise("doors.reflection", "gRPC reflection answers when it is switched on, and only then.", OURS),
    Promise("doors.openapi", "/openapi.yaml describes every REST operation that is served.", OURS),
    Promise("rest.logs", "GET …/logs/{target}?follow=true goes on sending lines as they come.", API),
    Promise("rest.unknown", "An unknown field is refused with 400, and named.", OURS),
    Promise("rest.errors", "An error's body has error, code, message and details.", API),
    Promise("rest.internal", "A 500 carries a request id and nothing of the inside.", OURS),
    Promise("auth.grpc", "gRPC reads the token from the metadata key authorization.", API),
    Promise("auth.rest", "REST reads the token from the Authorization header.", API),
    Promise("access.streams", "The namespace rule holds for logs, exec and watches too.", OURS),
    Promise("access.lists", "A list over all namespaces shows only what the caller may see.", OURS),
    Promise("crud.not-found", "Reading, changing or deleting what is not there is NotFound.", API),
    Promise("crud.exists", "Creating what is there is AlreadyExists.", API),
    Promise("crud.invalid", "What breaks a schema or a rule is InvalidArgument, whatever the state.", API),
    Promise("crud.names", "A name is a DNS label of at most 63 characters.", API),
    Promise("namespaces.built-in", "The namespaces default and system are there at the first start.", API),
    Promise("watch.resume", "A watch goes on from its token: nothing lost, nothing twice, in order.", OURS),
    Promise("watch.old", "A token older than the kept history is OutOfRange, with where to start.", OURS),
    Promise("watch.slow", "A slow reader costs neither the store nor other readers anything.", OURS),
    Promise("work.logs", "A restart of runed loses no line of a workload's log.", OURS),
    Promise("work.exec", "exec runs a command inside an instance and passes on its exit code.", API),
    Promise("edge.unimplemented", "A method without meaning here answers Unimplemented with why.", OURS),
)

PLANNED: dict[str, tuple[Promise, ...]] = {}
"""Nothing at the moment: all that was promised is built."""
