"""The vendor's operations by id (as its SDK's table lists them), with who carries them out."""

from __future__ import annotations

from typing import Final, Literal

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.rest import (
    accounts,
    analytics,
    forbidden,
    listing,
    reference,
    subscriptions,
    uploads,
    videos,
    warming,
    webhooks,
)
from orchestrator.sandbox.rest.bundles import Bundles
from orchestrator.sandbox.rest.call import Answer, Call
from orchestrator.sandbox.rest.doors import Handler, Operation
from orchestrator.sandbox.rest.ordering import Ordering
from orchestrator.sandbox.rest.quota import Quota

_BUNDLE: Final = "/bundles/{id}"
_VIDEO: Final = "/bundles/{id}/videos/{position}"
_ACCOUNT: Final = "/accounts/{id}"
_WEBHOOK: Final = "/webhooks/{id}"


def _read(id: str, path: str, handler: Handler, *, public: bool = False) -> Operation:
    return Operation(id, "GET", path, handler, "not-applicable", public)


def _write(
    id: str, method: str, path: str, handler: Handler, keys: Literal["standard", "reject"] = "standard"
) -> Operation:
    return Operation(id, method, path, handler, keys)


def operations(quota: Quota) -> list[Operation]:
    """In order of precedence: fixed words before `{position}` and `{id}`."""
    bundles, ordering = Bundles(quota), Ordering(quota)
    return [
        _read("getCurrentUser", "/me", reference.me),
        _read("listCountries", "/countries", reference.countries),
        _read("listPlatforms", "/platforms", reference.platforms),
        _read("getCreditCosts", "/credit-costs", reference.credit_costs),
        _read("getCreditBalance", "/credits/balance", reference.balance),
        _read("listCreditTransactions", "/credits/history", reference.history),
        _read("listBundles", "/bundles", bundles.listed),
        _write("createBundle", "POST", "/bundles", ordering.create),
        _write("createBundlesBulk", "POST", "/bundles/bulk", ordering.create_bulk),
        _read("getBundle", _BUNDLE, bundles.shown),
        _write("updateBundle", "PATCH", _BUNDLE, bundles.patch),
        _read("getBundlePublishReadiness", f"{_BUNDLE}/publish-readiness", bundles.readiness),
        _write("publishBundle", "POST", f"{_BUNDLE}/publish", bundles.publish),
        _write("unpublishBundle", "POST", f"{_BUNDLE}/unpublish", bundles.unpublish),
        _write("addVideoSlots", "POST", f"{_BUNDLE}/add-video-slots", bundles.add_video_slots),
        _write("addEditSlots", "POST", f"{_BUNDLE}/add-edit-slots", bundles.add_edit_slots),
        _read("getBundleAccount", f"{_BUNDLE}/account", listing.shown),
        _write("configureBundleAccount", "PUT", f"{_BUNDLE}/account", listing.configure),
        _write(
            "requestBundleAccountCorrections", "POST", f"{_BUNDLE}/account/corrections", listing.request_corrections
        ),
        _write("finalizeBundleAccount", "POST", f"{_BUNDLE}/account/finalize", listing.finalize),
        _read("listBundleVideos", f"{_BUNDLE}/videos", videos.listed),
        _write("batchConfigureBundleVideos", "PUT", f"{_BUNDLE}/videos/batch", videos.configure_batch),
        _write("publishAllBundleVideos", "POST", f"{_BUNDLE}/videos/publish-all", videos.publish_all),
        _read("getBundleVideo", _VIDEO, videos.shown),
        _write("configureBundleVideo", "PUT", _VIDEO, videos.configure),
        _write("patchBundleVideo", "PATCH", _VIDEO, videos.patch),
        _write("publishBundleVideo", "POST", f"{_VIDEO}/publish", videos.publish),
        _write("resetBundleVideo", "POST", f"{_VIDEO}/reset", videos.reset),
        _write("unscheduleBundleVideo", "POST", f"{_VIDEO}/unschedule", videos.unschedule),
        _write("finalizeBundleVideo", "POST", f"{_VIDEO}/finalize", videos.finalize),
        _write("requestBundleVideoCorrections", "POST", f"{_VIDEO}/corrections", videos.request_corrections),
        _write("fixBundleVideoDownload", "POST", f"{_VIDEO}/fix-download", videos.fix_download),
        _read("listAccounts", "/accounts", accounts.listed),
        _read("listAccountBans", "/account-bans", accounts.bans),
        _read("getAccount", _ACCOUNT, accounts.shown),
        _read("listAccountBundles", f"{_ACCOUNT}/bundles", accounts.bundles),
        _read("getAccountManagedSubscription", f"{_ACCOUNT}/managed-subscription", subscriptions.shown),
        _write(
            "reactivateAccountManagedSubscription",
            "POST",
            f"{_ACCOUNT}/managed-subscription/reactivate",
            subscriptions.reactivate,
        ),
        _write(
            "cancelAccountManagedSubscription", "POST", f"{_ACCOUNT}/managed-subscription/cancel", subscriptions.cancel
        ),
        _write("rewarmAccount", "POST", f"{_ACCOUNT}/rewarm", warming.rewarm),
        _write("configureBundleWarmingTerms", "PUT", f"{_BUNDLE}/warming-terms", warming.set_terms),
        _read("listAccountWarmingSessions", f"{_ACCOUNT}/warming-sessions", warming.sessions),
        _read("getWarmingSession", "/warming-sessions/{id}", warming.session),
        _write("generateWarmingTerms", "POST", "/warming/generate-terms", warming.generate_terms),
        _read("getAnalyticsDashboard", "/analytics", analytics.dashboard),
        _read("getAnalyticsAccount", "/analytics/accounts/{id}", analytics.account),
        _read("getAccountAnalytics", f"{_ACCOUNT}/analytics", analytics.account),
        _read("listAccountVideoAnalytics", f"{_ACCOUNT}/analytics/videos", analytics.account_videos),
        _read("getVideoAnalytics", "/videos/{id}/analytics", analytics.video),
        _read("canRefreshAccountAnalytics", f"{_ACCOUNT}/analytics/can-refresh", analytics.can_refresh),
        _write("refreshAccountAnalytics", "POST", f"{_ACCOUNT}/analytics/refresh", analytics.refresh),
        _write("refreshAnalyticsAccount", "POST", "/analytics/accounts/{id}/refresh", analytics.refresh),
        _read("listWebhookEvents", "/webhooks/events", webhooks.events, public=True),
        _read("listWebhookEndpoints", "/webhooks", webhooks.listed),
        _write("createWebhookEndpoint", "POST", "/webhooks", webhooks.create, "reject"),
        _read("getWebhookEndpoint", _WEBHOOK, webhooks.shown),
        _write("updateWebhookEndpoint", "PATCH", _WEBHOOK, webhooks.update),
        _write("deleteWebhookEndpoint", "DELETE", _WEBHOOK, webhooks.delete),
        _read("listWebhookDeliveries", f"{_WEBHOOK}/deliveries", webhooks.deliveries),
        _write("retryWebhookDelivery", "POST", f"{_WEBHOOK}/deliveries/{{delivery_id}}/retry", webhooks.retry),
        _write("testWebhookEndpoint", "POST", f"{_WEBHOOK}/test", webhooks.test),
        _write("revealAccountCredentials", "POST", f"{_ACCOUNT}/reveal-credentials", forbidden.refuse, "reject"),
        _write("retrieveAccountVerificationCode", "POST", f"{_ACCOUNT}/verification-code", forbidden.refuse, "reject"),
        _write("uploadImageFromUrl", "POST", "/upload/image/from-url", uploads.image_from_url),
        _write("uploadVideo", "POST", "/upload/video", _not_offered, "reject"),
        _write("uploadImage", "POST", "/upload/image", _not_offered, "reject"),
        _write("createAnalyticsReport", "POST", "/analytics/export/reports", _not_offered, "reject"),
    ]


def _not_offered(call: Call) -> Answer:
    raise Refusal(501, "NOT_IN_SANDBOX", f"The sandbox does not offer {call.operation}.")
