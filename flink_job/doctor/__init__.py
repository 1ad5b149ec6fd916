"""`flink-cascade doctor`: looks at everything that a job relies on, and says what to mend."""

from flink_job.doctor.diagnosis import Diagnosis, State
from flink_job.doctor.examination import examine

__all__ = ["Diagnosis", "State", "examine"]
