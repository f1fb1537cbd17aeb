"""Versions of transcripts and the urgency of jobs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "speech_models",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("engine", sa.String(length=40), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_speech_models")),
    )
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("urgency", sa.Integer(), server_default=sa.text("1"), nullable=False))
        batch_op.add_column(
            sa.Column("wanted_model", sa.String(length=120), server_default=sa.text("''"), nullable=False)
        )
        batch_op.add_column(sa.Column("chosen_transcript", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE recordings SET chosen_transcript = "
        "(SELECT max(id) FROM transcripts WHERE transcripts.call_id = recordings.call_id)"
    )


def downgrade() -> None:
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.drop_column("chosen_transcript")
        batch_op.drop_column("wanted_model")
        batch_op.drop_column("urgency")

    op.drop_table("speech_models")
