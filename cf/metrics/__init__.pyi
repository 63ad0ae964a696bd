from .base import VideoMetric as VideoMetric
from .consistency.consistency_horizon import ConsistencyHorizon as ConsistencyHorizon
from .consistency.own_anchor import OwnAnchorAUC as OwnAnchorAUC
from .consistency.semantic_drift import SemanticDrift as SemanticDrift
from .consistency.semantic_drift import SemanticDriftAbsolute as SemanticDriftAbsolute
from .consistency.similarity_to_first import SimilarityToFirst as SimilarityToFirst
from .consistency.temporal_consistency import TemporalConsistency as TemporalConsistency
from .consistency.temporal_consistency import (
    TemporalConsistencyAbsolute as TemporalConsistencyAbsolute,
)
from .consistency.vbench_consistency import (
    BackgroundConsistencyVBench as BackgroundConsistencyVBench,
)
from .consistency.vbench_consistency import ClipToClipRaw as ClipToClipRaw
from .consistency.vbench_consistency import SubjectConsistencyVBench as SubjectConsistencyVBench
from .fidelity.full_reference import PSNR as PSNR
from .fidelity.full_reference import SSIM as SSIM
from .fidelity.fvd import FVD as FVD
from .fidelity.perceptual import LPIPS as LPIPS
from .motion.camera_vs_object import CameraVsObject as CameraVsObject
from .motion.chunk_seam import ChunkSeam as ChunkSeam
from .motion.cut_rate import CutRate as CutRate
from .motion.disorder import Disorder as Disorder
from .motion.dynamic_degree import DynamicDegree as DynamicDegree
from .motion.flickering import TemporalFlickeringVBench as TemporalFlickeringVBench
from .motion.motion_retention import MotionRetention as MotionRetention
from .motion.motion_smoothness import MotionSmoothness as MotionSmoothness
from .motion.motion_smoothness_vbench import MotionSmoothnessVBench as MotionSmoothnessVBench
from .motion.static_fraction import StaticFraction as StaticFraction
from .motion.temporal_flicker import TemporalFlicker as TemporalFlicker
from .motion.warping_error import WarpingError as WarpingError
from .quality.blur_effect import BlurEffect as BlurEffect
from .quality.classical import ClassicalMeasure as ClassicalMeasure
from .quality.classical_quality import ClassicalQuality as ClassicalQuality
from .quality.frame_pack_drift import FramePackDrift as FramePackDrift
from .quality.quality_drift import QualityDrift as QualityDrift
from .recall.attribute_recall import AttributeRecall as AttributeRecall
from .recall.colour_recall import ColourRecall as ColourRecall
from .recall.identity import IdentityPersistence as IdentityPersistence
from .recall.needle import NeedleInVideo as NeedleInVideo
from .recall.novel_content import CellQualityDrift as CellQualityDrift
from .recall.novel_content import NovelEntropy as NovelEntropy
from .recall.novel_content import NovelQuality as NovelQuality
from .recall.out_and_back import MirrorConsistency as MirrorConsistency
from .recall.prompt_return import PromptReturnRecall as PromptReturnRecall
from .recall.recall import CrossRoomMatch as CrossRoomMatch
from .recall.recall import SelfRevisit as SelfRevisit
from .recall.recall import TriggerGate as TriggerGate
from .recall.recall_horizon import RecallHorizon as RecallHorizon
from .recall.revisit import RevisitLPIPS as RevisitLPIPS
from .recall.revisit import RevisitPSNR as RevisitPSNR
from .recall.revisit import RevisitSSIM as RevisitSSIM
from .repetition.cross_prompt_collapse import CrossPromptCollapse as CrossPromptCollapse
from .repetition.loop_rate import LoopRate as LoopRate
from .repetition.sink_reset import SinkReset as SinkReset
from .set_metric import SetMetric as SetMetric
from .text.segment_text import SegmentTextSimilarity as SegmentTextSimilarity
from .text.segment_text import SwitchResponse as SwitchResponse
from .text.text_similarity import PromptDrift as PromptDrift
from .text.text_similarity import TextSimilarity as TextSimilarity
from .truth.choice import ForcedChoice as ForcedChoice
from .truth.novel import PoseNovelEntropy as PoseNovelEntropy
from .truth.novel import PoseNovelFrechet as PoseNovelFrechet
from .truth.pose import PoseObedience as PoseObedience
from .truth.revisit import PoseRevisitLPIPS as PoseRevisitLPIPS
from .truth.revisit import PoseRevisitPSNR as PoseRevisitPSNR
from .truth.revisit import PoseRevisitSSIM as PoseRevisitSSIM
