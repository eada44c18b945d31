# One-way CR2 variances of a mean by speaker, sentence and cell, for tests/stats/test_factors.py.
#
#     Rscript bench/gate/oracle.R
#
# Needs clubSandwich (Debian: r-cran-clubsandwich). Recorded with R 4.2.2 and clubSandwich 0.5.8.

library(clubSandwich)

variance <- function(data, cluster) {
  fit <- lm(y ~ 1, data = data)
  found <- coef_test(fit, vcov = vcovCR(fit, cluster = cluster, type = "CR2"), test = "Satterthwaite")
  sprintf("%.12f (df %.6f)", found$SE^2, found$df_Satt)
}

# Crossed: 6 speakers x 5 sentences, each cell 0, 1 or 2 times.
grid <- expand.grid(sentence = 0:4, speaker = 0:5)
times <- (grid$speaker * 3 + grid$sentence * 2) %% 4
crossed <- grid[rep(seq_len(nrow(grid)), pmin(times, 2)), ]
k <- seq_len(nrow(crossed)) - 1
crossed$y <- (k * 37) %% 23 + 4 * crossed$speaker - 3 * crossed$sentence

# Nested: every speaker has sentences of their own, 1 to 7 rows each.
speaker <- rep(0:6, times = c(7, 1, 4, 2, 6, 3, 5))
nested <- data.frame(speaker = speaker, y = (seq_along(speaker) * 31) %% 19 + 5 * speaker)

cat("crossed rows", nrow(crossed), "mean", sprintf("%.12f", mean(crossed$y)), "\n")
cat("speakers ", variance(crossed, crossed$speaker), "\n")
cat("sentences", variance(crossed, crossed$sentence), "\n")
cat("cells    ", variance(crossed, crossed$speaker * 100 + crossed$sentence), "\n")
cat("nested rows", nrow(nested), "mean", sprintf("%.12f", mean(nested$y)), "\n")
cat("speakers ", variance(nested, nested$speaker), "\n")
