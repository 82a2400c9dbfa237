"""The twelve worked examples of docs/policies.md. The first line of each docstring is its title, the rest its moral."""

from __future__ import annotations

from collections.abc import Callable

from tests.examples.story import Story


def campaign(where: str, *refs: str, more: str = "") -> str:
    """The file of a small campaign with one target."""
    videos = "\n".join(f'  - {{ref: {ref}, media: "https://cdn.example.com/{ref}.mp4"}}' for ref in refs)
    target = f"targets:\n  - {{country: US, platform: tiktok, {where}}}"
    return f"name: launch\nvideos:\n{videos}\n{target}\n{more}disclose_as_ads: true\nai_content_disclaimer: false\n"


def warming(story: Story) -> None:
    """An account warms by itself, once it is ready and somebody has approved the price

    `budget.approve_above` is what the program may spend without asking. The decision is taken at once; the command
    waits in the outbox until everything that it needs is there, and says what that is.
    """
    story.rules("""
        defaults:
          warming: {terms: [street food, ramen, food market]}
          budget: {credits_per_day: 100, approve_above: 10}
    """)
    story.says("TokPortal reports a new account.")
    story.article("bundle.created", "bdl_us_1")
    story.shows()
    story.wait(days=1)
    story.says("A day later the account exists. Three terms cost 15 credits, which is more than 10.")
    story.article("bundle.ready", "bdl_us_1")
    story.shows()
    story.says("An admin looks at the price and approves the command: `POST /api/commands/{id}/approve`.")
    story.person("command.approve", command_id=story.commands(kind="start_warming")[0]["command_id"])
    story.shows()
    story.send_all()
    story.article("bundle.warming_started", "bdl_us_1", mode="advanced")
    story.wait(days=5)
    story.says("It is sent, the account warms, and five days later it is warm: videos may be placed on it.")
    story.article("bundle.warming_completed", "bdl_us_1")
    story.shows("bdl_us_1")


def warming_fails(story: Story) -> None:
    """Warming fails: one more try, then a person is asked

    A hold `needs_review` keeps everything away from the account until somebody has looked: `POST
    /api/bundles/{id}/reviewed` lifts it, and `POST /api/bundles/{id}/warm` tries once more.
    """
    story.rules("""
        defaults:
          warming: {terms: [street food, ramen, food market], retries: 1}
          budget: {credits_per_day: 100, approve_above: 50}
    """)
    for event in ("created", "ready"):
        story.article(f"bundle.{event}", "bdl_us_1")
    story.send_all()
    story.wait(hours=1)
    story.article("bundle.warming_started", "bdl_us_1")
    story.given("An account is warming.")
    story.wait(days=2)
    story.says("TokPortal reports that it failed.")
    story.article("bundle.warming_failed", "bdl_us_1", code="low_reach", reason="no reach")
    story.shows()
    story.send_all()
    story.wait(hours=1)
    story.article("bundle.warming_started", "bdl_us_1")
    story.given("The second try is sent, and TokPortal begins.")
    story.wait(days=2)
    story.says("It fails as well.")
    story.article("bundle.warming_failed", "bdl_us_1", code="low_reach", reason="no reach")
    story.shows("bdl_us_1")


def placing(story: Story) -> None:
    """A campaign finds its accounts and days

    Every account gets its share, the days of one account are filled evenly, and nothing is planned sooner than
    TokPortal can do it. What finds no place is not lost: it waits, and is placed as soon as there is room.
    """
    story.rules("""
        defaults:
          posting:
            per_day: 1
            days: [mon, tue, wed, thu, fri]
            blackout: [2026-11-26]
            lead_days: {existing: 2}
    """)
    story.warm("bdl_us_1", "bdl_us_2")
    story.article("bundle.created", "bdl_us_3")
    story.given("""
        Two accounts are warm, a third is new. It is Monday: the lead of two days makes Wednesday the first day.
        Thursday is Thanksgiving, and the campaign ends on Friday. A dry run shows what would become of it:
    """)
    draft = story.drafts("""
        name: launch
        ends: 2026-11-27
        videos:
          - {ref: teaser-1, media: "https://cdn.example.com/1.mp4"}
          - {ref: teaser-2, media: "https://cdn.example.com/2.mp4"}
          - {ref: teaser-3, media: "https://cdn.example.com/3.mp4"}
          - {ref: teaser-4, media: "https://cdn.example.com/4.mp4"}
          - {ref: teaser-5, media: "https://cdn.example.com/5.mp4"}
        targets:
          - {country: US, platform: tiktok}
        spread: one_account
        disclose_as_ads: true
        ai_content_disclaimer: false
    """)
    story.calendar(draft)
    story.says("The campaign is started: every video that has a place gets its command at once.")
    story.starts()
    story.shows()


def rerouting(story: Story) -> None:
    """A post fails, and the video moves to another account of the country

    Every account of the country and platform is judged, and the verdict on each is kept with the decision. The video
    keeps its day where the new account has room on it.
    """
    story.rules("""
        groups:
          acme: [bdl_us_4]
    """)
    story.warm("bdl_us_1", "bdl_us_2", "bdl_us_3", "bdl_us_4", "bdl_us_5")
    story.article("bundle.ready", "bdl_us_6")
    story.article("bundle.banned", "bdl_us_2", reason="terms of service")
    story.warm("bdl_fr_1", country="FR")
    story.given("""
        Four accounts in the US are warm, one of them for the client acme; one is banned, and one is not warmed yet.
        There is a warm one in France, too, of which we shall hear nothing. Everything else is as the defaults have it:
        every code but `content_*` and `copyright_*` reroutes.
    """)
    first, _ = story.wants(campaign("bundles: [bdl_us_1, bdl_us_5]", "teaser"))
    story.send_all()
    story.given("The video is wanted on two accounts, and TokPortal has taken both.")
    story.wait(hours=20)
    story.says("On its day the first post fails, and TokPortal will not try again.")
    story.article(
        "video.post_failed",
        "bdl_us_1",
        video_id=first,
        error_code="login_required",
        message="session expired",
        retry={"attempt": 3, "max_attempts": 3, "will_retry": False},
    )
    story.shows(first)


def retrying(story: Story) -> None:
    """A passing trouble is tried again on the same account, then elsewhere

    Codes of a narrower level are tried first, so one line for one country is enough; the defaults still hold for
    every other code.
    """
    story.rules("""
        defaults:
          failure: {retries: 2, backoff: [5m, 30m]}
        countries:
          US:
            failure:
              codes: {"network_*": retry}
    """)
    story.warm("bdl_us_1", "bdl_us_2")
    (video,) = story.wants(campaign("accounts: 1", "teaser"))
    story.send_all()
    story.given("A video is scheduled.")
    story.wait(hours=20)

    def fails() -> None:
        story.article("video.post_failed", "bdl_us_1", video_id=video, error_code="network_timeout")

    story.says("The network fails on the day of the post.")
    fails()
    story.shows()
    story.wait(minutes=6)
    story.send_all()
    story.given("After five minutes the second try is sent.")
    story.wait(minutes=10)
    story.says("It fails, too.")
    fails()
    story.shows()
    story.wait(minutes=31)
    story.send_all()
    story.given("After half an hour the third try is sent.")
    story.wait(minutes=10)
    story.says("Three tries are all that the policy allows on one account.")
    fails()
    story.shows(video)


def stopping(story: Story) -> None:
    """The platform rejects the content: it goes nowhere else

    What TokPortal has already cannot be held. Everything else with this `ref` in the campaign waits until a person has
    looked, and releases it (`POST /api/videos/{id}/release`) or cancels it (`POST /api/videos/{id}/cancel`).
    """
    story.rules("""
        defaults:
          failure:
            codes: {"content_*": stop, "copyright_*": stop, "*": reroute}   # these are the defaults
    """)
    story.warm("bdl_us_1", "bdl_us_2", "bdl_us_3")
    first, second, third = story.wants(campaign("bundles: [bdl_us_1, bdl_us_2, bdl_us_3]", "teaser"))
    story.sends(first)
    story.sends(second)
    story.wait(hours=20)
    story.given("The same content is planned on three accounts, and TokPortal has taken two of them.")
    story.says("TikTok rejects it on the first one.")
    story.article("video.post_failed", "bdl_us_1", video_id=first, error_code="content_violation", message="guidelines")
    story.shows(first, second, third)


def banned(story: Story) -> None:
    """An account is banned: all its videos move at once, those that TokPortal has as well

    A ban is TokPortal's own word that the account will post nothing more, so nothing needs to be asked first. With
    `ban.then: hold` the videos would stay where they are, held, until a person decides.
    """
    story.rules("""
        defaults:
          posting: {per_day: 2}
          ban: {then: reroute}   # the default
    """)
    story.warm("bdl_us_1", "bdl_us_2", "bdl_us_3")
    first, second = story.wants(
        campaign("bundles: [bdl_us_1]", "teaser-1", "teaser-2", more="starts: 2026-12-01\nends: 2026-12-01\n")
    )
    story.sends(first)
    story.given("Two videos are planned on one account for the same day; TokPortal has taken the first already.")
    story.wait(days=2)
    story.says("The account is banned.")
    story.article("bundle.banned", "bdl_us_1", reason="terms of service")
    story.shows(first, second)


def waiting(story: Story) -> None:
    """Nobody qualifies: the video waits, and is placed when an account becomes warm

    It waits until `reroute.deadline` has passed since its first day; then it is given up.
    """
    story.rules("""
        defaults:
          reroute: {deadline: 10d}
    """)
    story.warm("bdl_us_1")
    (video,) = story.wants(campaign("accounts: 1", "teaser"))
    for event in ("created", "ready", "warming_started"):
        story.article(f"bundle.{event}", "bdl_us_2")
    story.given("A video is planned on the only account that is warm. A second one is warming.")
    story.says("The first account is banned.")
    story.article("bundle.banned", "bdl_us_1", reason="terms of service")
    story.shows(video)
    story.wait(days=4)
    story.says("Four days later the second account is warm. Nobody has to do anything.")
    story.article("bundle.warming_completed", "bdl_us_2")
    story.shows(video)


def silence(story: Story) -> None:
    """TokPortal says nothing: the slot is looked up before anything moves

    A target day opens a window of two days. `missed_after` counts from its end. A video is never handed to a second
    account while the first may still post it: so the question comes first, and as long as there is no clear answer the
    video stays, people are told, and the question is repeated after 6, 12, 18, and then every 24 hours.
    """
    story.rules("""
        defaults:
          failure: {missed_after: 1d}   # the default
    """)
    story.warm("bdl_us_1", "bdl_us_2")
    (video,) = story.wants(campaign("accounts: 1", "teaser"))
    story.send_all()
    story.given("A video is scheduled for Tuesday, 24 November, so it is to be posted by the end of Wednesday.")
    story.at_day("2026-11-27", "05:00")
    story.says("No news. When Thursday ends in New York, the patience ends, too.")
    story.shows(video)
    story.says("TokPortal still has it, and will post it: nothing moves.")
    story.answers("busy")
    story.shows(video)
    story.at_day("2026-11-27", "11:00")
    story.says("Six hours later the question is put again.")
    story.shows()
    story.says("This time the slot is free, so the video is taken from it.")
    story.answers("free")
    story.shows(video)


def breaker(story: Story) -> None:
    """Three bans in a day open the breaker

    So many bans in one country and platform are no accident. Nothing is placed, moved or handed over there until a
    person says so; what TokPortal has already stays with it. Then everything goes on by itself.
    """
    story.rules("""
        defaults:
          ban:
            breaker: {bans: 3, within: 24h}   # the default
    """)
    story.warm(*(f"bdl_us_{number}" for number in range(1, 6)))
    first, second, third = story.wants(campaign("bundles: [bdl_us_1, bdl_us_2, bdl_us_3]", "teaser"))
    story.given("Five accounts are warm, and a video goes to three of them.")
    story.says("All three are banned within the hour.")
    for bundle in ("bdl_us_1", "bdl_us_2", "bdl_us_3"):
        story.wait(minutes=20)
        story.article("bundle.banned", bundle, reason="terms of service")
    story.shows(first, second, third)
    story.wait(hours=3)
    story.warm("bdl_us_6", days_ago=1)
    story.given("A person finds the cause. Meanwhile another account has become warm.")
    story.says("Now it may go on: `POST /api/countries/US/resume`.")
    story.person("market.resume", country="US", platform="tiktok", reason="a bad proxy, replaced")
    story.shows(first, second, third)


def appeal(story: Story) -> None:
    """An appeal is pending: what is scheduled stays, until its day comes

    TokPortal reports an appeal when an account was banned and its owner objects. The account is `suspended` meanwhile:
    nothing new is placed on it. The hold lifts by itself when TokPortal reports that the appeal was accepted.
    """
    story.rules("""
        version: 1   # and nothing else: the defaults
    """)
    story.warm("bdl_us_1", "bdl_us_2")
    (video,) = story.wants(campaign("accounts: 1", "teaser", more="starts: 2026-12-01\nends: 2026-12-05\n"))
    story.send_all()
    story.given("TokPortal has taken a video for 1 December.")
    story.wait(days=1)
    story.says("TokPortal reports that an appeal against a ban was submitted.")
    story.public("account.ban_appeal.submitted", bundle_id="bdl_us_1")
    story.shows(video, "bdl_us_1")
    story.at_day("2026-12-01", "05:00")
    story.says("The day begins in New York, and the appeal is still pending.")
    story.shows()
    story.wait(minutes=1)
    story.says("TokPortal says that the slot is free.")
    story.answers("free")
    story.shows(video)


def backups(story: Story) -> None:
    """Backups of one country, kept free and taken in their order

    Lists replace: what `countries.US` says of `backups` holds in the US alone, and everywhere else any account of the
    same country, platform and group may help out. Groups never mix, whoever is listed.
    """
    story.rules("""
        countries:
          US:
            reroute:
              backups: [bdl_us_b2, bdl_us_b1]
              reserve: true
              choose: listed_order
        groups:
          acme: [bdl_us_4]
    """)
    story.warm("bdl_us_1", "bdl_us_2", "bdl_us_4", "bdl_us_b1", "bdl_us_b2")
    story.given("Two ordinary accounts, two backups, and one account of the client acme, all of them warm.")
    story.says("A campaign asks for two accounts. The backups are reserved, so they get none of its videos.")
    videos = story.wants(campaign("accounts: 2", "teaser"))
    story.shows()
    story.send_all()
    story.given("TokPortal takes both.")
    story.wait(hours=20)
    story.says("One of the posts fails, and the first backup of the list takes the video over.")
    story.article("video.post_failed", "bdl_us_1", video_id=videos[0], error_code="login_required")
    story.shows(videos[0])


STORIES: tuple[Callable[[Story], None], ...] = (
    warming,
    warming_fails,
    placing,
    rerouting,
    retrying,
    stopping,
    banned,
    waiting,
    silence,
    breaker,
    appeal,
    backups,
)
