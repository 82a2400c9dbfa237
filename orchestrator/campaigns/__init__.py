"""Campaigns as people write them: YAML, JSON or CSV, read into one form."""

from orchestrator.campaigns.files import read_csv, read_document
from orchestrator.campaigns.spec import CampaignSpec, Content, Target

__all__ = ["CampaignSpec", "Content", "Target", "read_csv", "read_document"]
