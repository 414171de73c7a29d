#!/bin/bash
# Predict a large pool in 100 parts, as an array job without Ray: each part is one file, made by one task.
#   sbatch slurm_parts.sh
# A part that is there is left alone, and none is ever half there. After a failure submit the same again, or only what is
# missing: sbatch --array=17,42 slurm_parts.sh. Then: sslmask pseudo --from-predictions parts --teacher train-001
# The data, the runs and `parts` are on a disk that all machines share.
#SBATCH --job-name=sslmask-parts
#SBATCH --array=0-99%50
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --gres=gpu:1
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
srun sslmask predict --run train-001 --images pool.csv --on-bad skip --shard "$SLURM_ARRAY_TASK_ID/100" --out parts
