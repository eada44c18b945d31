# CR2 variance and Satterthwaite df of a mean of three labels' means, for tests/stats/test_means.py.
#
#     Rscript bench/stats/oracle.R
#
# Needs clubSandwich (Debian: r-cran-clubsandwich). Recorded with R 4.2.2 and clubSandwich 0.5.8.

suppressMessages(library(clubSandwich))

contrast <- function(name, data) {
  fit <- lm(y ~ 0 + factor(label), data = data)
  found <- linear_contrast(fit, vcov = "CR2", cluster = data$speaker,
                           contrasts = matrix(1 / 3, 1, 3), test = "Satterthwaite")
  cat(sprintf("%-8s mean %.12f se %.12f df %.9f\n", name, found$Est, found$SE, found$df))
}

# Each label has its own speakers: 4, 6 and 2 of them, with 1 to 5 rows each.
speaker <- rep(0:11, times = c(3, 1, 5, 2, 4, 4, 1, 3, 5, 2, 3, 4))
nested <- data.frame(speaker = speaker, label = rep(0:2, times = c(4, 6, 2))[speaker + 1])
nested$y <- (seq_along(speaker) * 37) %% 23

# Every speaker has rows of two or three labels.
speaker <- rep(0:6, times = c(7, 3, 4, 6, 5, 8, 4))
k <- seq_along(speaker) - 1
crossed <- data.frame(speaker = speaker, label = (k + k %/% 5) %% 3, y = (k * 29) %% 31)

contrast("nested", nested)
contrast("crossed", crossed)
